"""What an attacker sees of a recommender: its vectors, its answers, or the profiles that it learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

from recbole_aia.config.devices import memory_is_full
from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.run_keys import LISTS, MASK, VIEWS
from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import AttributeDataError, ConfigValueError, UnsupportedModelError
from recbole_aia.model.views import UserEmbeddingView

#: Exposures that are the vectors themselves; the others need the model and its training interactions.
OF_VECTORS = frozenset({"served", "table", "both"})

#: The most dimensions of ``top_k`` and ``profile``. AUC of gender and age from ml-100k's training profiles (five folds,
#: the best of logistic, mlp, svm and xgboost): decomposed to 32, 64, 128 and 256 dimensions 0.746 and 0.811, 0.780 and
#: 0.804, 0.729 and 0.781, 0.692 and 0.754; all 1,682 dimensions 0.745 and 0.793; projected at random to 128 and 256
#: dimensions 0.687 and 0.730, 0.712 and 0.743. Rows of equal length and weighted items gained nothing.
COMPONENTS = 64
#: Dimensions of ``scores``.
PROJECTIONS = 128

_SCORES = 2**22  # scores that are computed at a time, sixteen megabytes; at least those of one user


def exposure_names(asked: Any, default: Sequence[str] = ("served",)) -> tuple[str, ...]:
    """Reads the key ``attack_views``.

    Args:
        asked: a name, a list of names, ``all``, or ``None`` for the default.
        default: what ``None`` stands for.

    Returns:
        Names in the order of :data:`VIEWS`, each once.

    Raises:
        ConfigValueError: an unknown name, or an empty list.
    """
    names = list(default) if asked is None else [asked] if isinstance(asked, str) else list(asked)
    if names == ["all"]:
        return VIEWS
    for name in names:
        if name not in VIEWS:
            meant = did_you_mean(str(name), [*VIEWS, "all"], cutoff=0.5)
            raise ConfigValueError(
                f"attack_views names {name!r}, which is no view.{meant} There are {', '.join(VIEWS)}; "
                "all, alone, stands for every one."
            )
    if not names:
        raise ConfigValueError(f"attack_views is empty. Name at least one of {', '.join(VIEWS)}.")
    return tuple(name for name in VIEWS if name in names)


def run_exposures(asked: Any, defense: str) -> tuple[str, ...]:
    """Reads the key ``attack_views`` of a run: ``None`` stands for ``served``, and for lists too if there is a defense.

    Args:
        asked: as in :func:`exposure_names`.
        defense: the key ``defense``; ``none`` leaves the lists out, because nothing would be compared.
    """
    return exposure_names(asked, ("served",) if defense == "none" else ("served", LISTS, MASK))


def needs_model(names: Sequence[str]) -> bool:
    """Whether any of these exposures is more than vectors, and so needs the model and its training interactions."""
    return not OF_VECTORS.issuperset(names)


def vector_exposures(
    names: Sequence[str], served: FloatArray, table: FloatArray | None
) -> tuple[dict[str, FloatArray], list[str]]:
    """The exposures that are the vectors themselves.

    Args:
        names: exposures; those not in :data:`OF_VECTORS` are passed over.
        served: ``[n, d]``.
        table: ``[n, d']``, or ``None`` where the model has none.

    Returns:
        Vectors by name, and notes. Where the table shows nothing new (the model has none, or serves it as it is),
        one entry ``served`` replaces ``table`` and ``both``, and a note says so.
    """
    own = table is not None and not np.array_equal(served, table)
    views: dict[str, FloatArray] = {}
    notes = []
    for name in names:
        if name in ("table", "both") and not own:
            reason = "there is no table" if table is None else "this model serves its raw parameters"
            notes.append(f"{name} is not listed: {reason}, so it is the same as served")
        if name in OF_VECTORS:
            views |= {name: _beside(name, served, table)} if own else {"served": served}
    return views, notes


def _beside(name: str, served: FloatArray, table: FloatArray | None) -> FloatArray:
    if name == "served":
        return served
    assert table is not None
    return table if name == "table" else np.hstack([served, table])


def expose(name: str, model: nn.Module, training: Any, *, k: int = 10, seed: int = 0) -> FloatArray:
    """What an attacker sees of every user of a model.

    ``served`` and ``table`` are the model's vectors, ``both`` the two side by side. ``top_k`` is the recommendation
    lists on the users' screens (:func:`top_items`), ``top_k_unmasked`` the same with seen items left in, and
    ``top_k_popular`` lists of the most popular items without the seen ones: what the mask shows without any model.
    ``scores`` is the model's scores of all items (:func:`score_rows`), and ``profile`` the interactions that the model
    was trained on. ``profile`` is the ceiling, because the model knows nothing else of a user. Lists and profiles are
    reduced by :func:`reduced`.

    Args:
        name: one of :data:`VIEWS`.
        model: a model with a user embedding view, in evaluation mode.
        training: RecBole's dataset of the training split; a system does not know held-out interactions.
        k: length of the recommendation lists, >= 1.
        seed: of the projection and of the decomposition, >= 0.

    Returns:
        ``[n_users - 1, d]``, row ``i`` of user ``i + 1``.

    Raises:
        UnsupportedModelError: ``table`` or ``both`` of a model without a table.
        AttributeDataError: scores that are not finite.
    """
    view = UserEmbeddingView(model)
    if name == "scores":
        return score_rows(view, PROJECTIONS, seed)
    if name not in OF_VECTORS:
        seen = interaction_matrix(training)
        shown = {
            "top_k": lambda: top_items(view, seen, k),
            "top_k_unmasked": lambda: top_items(view, sp.csr_matrix(seen.shape), k),
            "top_k_popular": lambda: popular_items(seen, k),
            "profile": lambda: seen,
        }
        return reduced(shown[name](), COMPONENTS, seed)
    served, table = user_vectors(model)
    if table is None and name != "served":
        raise UnsupportedModelError(f"{type(model).__name__} has no table of users. Look at what it serves.")
    return _beside(name, served, table)


@torch.no_grad()
def user_vectors(model: nn.Module) -> tuple[FloatArray, FloatArray | None]:
    """What a model serves of its users, ``[n_users - 1, d]``, and their table, ``None`` where it has none."""
    view = UserEmbeddingView(model)
    table = view.table()
    return view.served().cpu().numpy(), None if table is None else table.cpu().numpy()


def interaction_matrix(training: Any) -> sp.csr_matrix:
    """Which user has which item, ``[n_users - 1, n_items - 1]``, entries 1; padding is left out.

    Args:
        training: RecBole's dataset of the training split. Repeated interactions count once.
    """
    features = training.inter_feat
    users, items = (features[field].numpy() - 1 for field in (training.uid_field, training.iid_field))
    shape = training.user_num - 1, training.item_num - 1
    matrix = sp.csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1
    return matrix


def top_items(view: UserEmbeddingView, seen: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The items that each user is recommended, ``[n_users - 1, n_items - 1]``, entries 1; see :func:`ranked_items`.

    Users with fewer than ``k`` unseen items get all of them. The order within a list is not kept. An empty matrix
    ``seen`` leaves seen items in the lists.
    """
    return _lists(*ranked_items(view, seen, k), seen.shape)


def popular_items(seen: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """As :func:`top_items`, of a recommender that ranks items by their number of users, and ties by their number.

    Its lists differ between users only by the mask of seen items. So an attacker learns from them what the mask alone
    gives away.

    Args:
        seen: training interactions, ``[n_users - 1, n_items - 1]``.
        k: items of a list, >= 1.
    """
    n_users, n_items = seen.shape
    ranks = np.empty(n_items, dtype=np.float32)  # exact for up to 2**24 items
    ranks[np.argsort(-seen.getnnz(axis=0), kind="stable")] = -np.arange(n_items)
    rows = max(1, _SCORES // n_items)
    blocks = ((at, torch.from_numpy(ranks).repeat(min(rows, n_users - at), 1)) for at in range(0, n_users, rows))
    return _lists(*_ranked(blocks, seen, k), seen.shape)


def _lists(items: IntArray, scores: FloatArray, shape: tuple[int, int]) -> sp.csr_matrix:
    listed = np.isfinite(scores)
    ends = np.cumsum(np.concatenate([[0], listed.sum(axis=1)]))
    return sp.csr_matrix((np.ones(ends[-1], dtype=np.float32), items[listed], ends), shape=shape)


def ranked_items(view: UserEmbeddingView, seen: sp.csr_matrix, k: int) -> tuple[IntArray, FloatArray]:
    """The best items of each user, and their logits, best first, both ``[n_users - 1, min(k, n_items - 1)]``.

    As in RecBole's full-sort evaluation, items that a user has seen are not recommended; an empty ``seen`` leaves them
    in. Where no other item is left, the logit is ``-inf``.

    Args:
        view: of the model.
        seen: training interactions, ``[n_users - 1, n_items - 1]``; columns, as items here, count from item id 1.
        k: items of a list, >= 1.
    """
    return _ranked(_score_blocks(view), seen, k)


def _ranked(blocks: Iterable[tuple[int, Tensor]], seen: sp.csr_matrix, k: int) -> tuple[IntArray, FloatArray]:
    items, values = [], []
    for start, scores in blocks:
        known = seen[start : start + len(scores)].tocoo()
        scores[torch.from_numpy(known.row).long(), torch.from_numpy(known.col).long()] = -torch.inf
        best = scores.topk(min(k, seen.shape[1]), dim=1)
        items.append(best.indices.numpy())
        values.append(best.values.numpy())
    return np.concatenate(items), np.concatenate(values)


def score_rows(view: UserEmbeddingView, dimensions: int, seed: int) -> FloatArray:
    r"""A user's scores of all items, seen or not, reduced by a Gaussian random projection.

    .. math:: x_u = \tfrac{1}{\sqrt{d}}\,(s_u - \bar s_u \mathbf 1)\,G, \qquad G_{ij} \sim \mathcal N(0, 1)

    Scores are logits, before any sigmoid. The mean of a user's scores is subtracted: rankings do not depend on it,
    and for NeuMF on ml-100k the best attacker reads more without it (AUC of gender 0.692 against 0.682).

    Args:
        view: of the model.
        dimensions: ``d`` >= 1.
        seed: of ``G``, >= 0.

    Returns:
        ``[n_users - 1, d]``.

    Source:
        Johnson and Lindenstrauss (1984): distances between users are kept, to about ``1 / sqrt(d)``.
    """
    n_items = view.model.n_items - 1
    draws = np.random.default_rng(seed).standard_normal((n_items, dimensions), dtype=np.float32)
    projection = torch.from_numpy(draws / np.float32(np.sqrt(dimensions)))
    parts = [(scores - scores.mean(dim=1, keepdim=True)) @ projection for _, scores in _score_blocks(view)]
    return torch.cat(parts).numpy()


def reduced(matrix: sp.csr_matrix, components: int, seed: int) -> FloatArray:
    """Sparse rows in few dimensions: ``U S`` of a truncated singular value decomposition.

    Args:
        matrix: ``[n, m]``, sparse; it is never made dense.
        components: dimensions at most, >= 1; no more than ``n`` or ``m``.
        seed: of the randomized range finder, >= 0; equal seeds give equal results.

    Returns:
        ``[n, min(components, n, m)]``.

    Source:
        Halko, Martinsson and Tropp (2011), with four power iterations.
    """
    left, values, _ = randomized_svd(matrix, min(components, *matrix.shape), n_iter=4, random_state=seed)
    return np.ascontiguousarray(left * values, dtype=np.float32)


@torch.no_grad()
def _score_blocks(view: UserEmbeddingView) -> Iterator[tuple[int, Tensor]]:
    """Logits of all items but the padding item, a few users at a time: first user's row and ``[m, n_items - 1]``."""
    served, start = view.served(), 0
    rows = max(1, min(len(served), _SCORES // view.model.n_items))
    with view.shared_forward():
        while start < len(served):
            try:
                scores = view.scores(served[start : start + rows])[:, 1:].float().cpu().clone()
            except RuntimeError as error:
                if rows == 1 or not memory_is_full(error):
                    raise
                rows //= 2
                continue
            if not scores.isfinite().all():
                raise AttributeDataError("the model's scores are not finite. Has training diverged? Train again.")
            yield start, scores
            start += len(scores)
