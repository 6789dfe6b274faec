"""Who leaks, and where: users, groups of users by activity, and embedding dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy.stats import rankdata

from recbole_aia.config.types import BoolArray, FloatArray, IntArray
from recbole_aia.evaluator.attackers.combined import invert
from recbole_aia.evaluator.evidence import Evidence
from recbole_aia.evaluator.labels import AttackedAttribute
from recbole_aia.evaluator.metrics import advantage, auc_from_rank_sums, one_vs_rest_auc
from recbole_aia.evaluator.protocol import HeldOut
from recbole_aia.evaluator.statistics import floor95, permuted_advantages

#: What a row of a report is about.
KEYS = ("state", "view", "attribute", "attacker", "leak_ratio")
#: Of :func:`users`.
COLUMNS = ("user", *KEYS[:-1], "class", "confidence", "guessed")
_GROUPS = 3
_SHOWN_DIMENSIONS = 10
_PERMUTATIONS = 200


def oriented(held_out: HeldOut) -> FloatArray:
    """The answers of an attacker that knows when it is wrong, ``[repeats, n, K]``.

    Whoever inverts answers below chance learns as much as from answers above it. If answers were not inverted, the
    users who leak most could look safest. A class is inverted in a fold where its AUC over the other folds of the
    repeat is below 1/2, so no user influences how its own answer is read.
    """
    codes, scores = held_out.attribute.codes, held_out.scores.copy()
    for said, fold_of in zip(scores, held_out.fold_of, strict=True):
        members = [fold_of == fold for fold in range(fold_of.max() + 1)]
        auc = np.stack([one_vs_rest_auc(codes[inside], said[inside]) for inside in members])
        for fold, inside in enumerate(members):
            said[inside] = invert(said[inside], np.delete(auc, fold, axis=0).mean(axis=0) < 0.5)
    return scores


def confidence(held_out: HeldOut) -> FloatArray:
    """Probability that the attacker gives to each user's true class, averaged over repeats: ``[n]`` in [0, 1].

    The attacker never learned from the user it answers about. Answers below chance are inverted, see
    :func:`oriented`.
    """
    users = np.arange(len(held_out.attribute.codes))
    mean: FloatArray = oriented(held_out)[:, users, held_out.attribute.codes].mean(axis=0)
    return mean


def users(
    row: Mapping[str, Any],
    evidence: Evidence,
    tokens: Sequence[str] | NDArray[np.str_] | None = None,
    activity: IntArray | None = None,
) -> pd.DataFrame:
    """One line for each attacked user.

    Args:
        row: of a report.
        evidence: the data behind the row.
        tokens: names of the users, ``[n_users]``, one for each row of the embeddings; row numbers where ``None``.
        activity: interactions of each user, ``[n_users]``.

    Returns:
        ``user``; state, view, attribute and attacker; the true ``class``, the ``confidence`` in it, the class that
        was ``guessed``, and ``interactions`` where they are known. The users with the highest confidence come first.
    """
    held_out = evidence.held_out
    attribute, names = held_out.attribute, np.asarray(held_out.attribute.class_names)
    columns: dict[str, Any] = {
        "user": attribute.users if tokens is None else np.asarray(tokens)[attribute.users],
        **{key: row[key] for key in KEYS[:-1]},
        "class": names[attribute.codes],
        "confidence": confidence(held_out).round(6),
        "guessed": names[oriented(held_out).mean(axis=0).argmax(axis=1)],
    }
    if activity is not None:
        columns["interactions"] = np.asarray(activity)[attribute.users]
    return pd.DataFrame(columns).sort_values("confidence", ascending=False, kind="stable")


def summary(row: Mapping[str, Any], evidence: Evidence, activity: IntArray | None = None) -> dict[str, Any]:
    """Finds the groups of users and the dimensions in which one row leaks.

    Args:
        row: of a report.
        evidence: the data behind the row.
        activity: interactions of each user, ``[n_users]``; without them there are no groups.

    Returns:
        The row's keys; ``groups`` (:func:`by_activity`); and ``dimensions`` (:func:`by_dimension`) with their
        ``dimension_floor``.
    """
    held_out = evidence.held_out
    found = {key: row[key] for key in KEYS}
    if activity is not None:
        found["groups"] = by_activity(held_out, np.asarray(activity))
    found |= by_dimension(evidence.embeddings[held_out.attribute.users], held_out.attribute)
    return found


def among(row: Mapping[str, Any], evidence: Evidence, asked: BoolArray) -> dict[str, Any]:
    """The advantage of a row's attacker among some users. Nothing is trained again, see :func:`by_activity`.

    Args:
        row: of a report.
        evidence: the data behind the row.
        asked: which users, ``[n_users]``.

    Returns:
        The row's keys; ``n_users``, how many of them were attacked; ``advantage`` and ``floor``.
    """
    held_out = evidence.held_out
    members = np.flatnonzero(asked[held_out.attribute.users])
    gain, floor = _gain_and_floor(held_out, members)
    return {**{key: row[key] for key in KEYS}, "n_users": len(members), "advantage": gain, "floor": floor}


def worst_among(
    rows: Sequence[Mapping[str, Any]], evidence: Sequence[Evidence], asked: BoolArray
) -> dict[str, Any] | None:
    """The attacker with the largest advantage among some users; see :func:`among`. Its floor allows for the choice.

    Args:
        rows: of a report, all of one attribute.
        evidence: the data behind each row.
        asked: which users, ``[n_users]``.

    Returns:
        ``attacker``, ``view``, ``advantage`` and ``floor``; ``None`` where too few users are among them.
    """
    found, draws = [], []
    for row, each in zip(rows, evidence, strict=True):
        gain = _gain(each.held_out, np.flatnonzero(asked[each.held_out.attribute.users]))
        if gain is not None:
            found.append({"attacker": row["attacker"], "view": row["view"], "advantage": gain[0]})
            draws.append(gain[1])
    return {**max(found, key=lambda case: case["advantage"]), "floor": floor95(draws)} if found else None


def by_activity(held_out: HeldOut, activity: IntArray) -> list[dict[str, Any]]:
    """The advantage among users of low, middle and high activity.

    Nothing is trained again: the attacker's answers are judged inside each group and each fold.

    Args:
        held_out: the attacker's answers.
        activity: interactions of each user, ``[n_users]``.

    Returns:
        For each third of the users (fewer groups where activities tie): ``interactions`` of the least and the most
        active, ``n_users``, ``advantage``, and its ``floor`` for this attacker in this group alone. Classes
        with fewer members in the group than folds are not judged there; where fewer than two remain, ``advantage``
        and ``floor`` are None.
    """
    own = activity[held_out.attribute.users]
    edges = np.unique(np.quantile(own, np.linspace(0, 1, _GROUPS + 1), method="higher")[1:-1])
    group_of = np.searchsorted(edges, own, side="right")
    groups = []
    for group in np.unique(group_of):
        members = np.flatnonzero(group_of == group)
        gain, floor = _gain_and_floor(held_out, members)
        spread = [int(own[members].min()), int(own[members].max())]
        groups.append({"interactions": spread, "n_users": len(members), "advantage": gain, "floor": floor})
    return groups


def _gain_and_floor(held_out: HeldOut, members: IntArray) -> tuple[float | None, float | None]:
    gain = _gain(held_out, members)
    return (None, None) if gain is None else (gain[0], floor95([gain[1]]))


def _gain(held_out: HeldOut, members: IntArray) -> tuple[float, FloatArray] | None:
    """The advantage among some users and chance's, ``[P]``, from permutations that all attackers share."""
    folds = int(held_out.fold_of.max()) + 1
    codes = held_out.attribute.codes[members]
    kept = np.flatnonzero(np.bincount(codes, minlength=held_out.scores.shape[-1]) >= folds)
    if len(kept) < 2:
        return None
    inside = np.isin(codes, kept)
    members, codes = members[inside], np.searchsorted(kept, codes[inside])
    scores, fold_of = held_out.scores[:, members][:, :, kept], held_out.fold_of[:, members]
    auc = [
        one_vs_rest_auc(codes[each == fold], said[each == fold])
        for said, each in zip(scores, fold_of, strict=True)
        for fold in np.unique(each)
    ]
    null = permuted_advantages(codes, scores, fold_of, _PERMUTATIONS, seed=0)
    gain = float(advantage(np.nanmean(auc, axis=0)))
    return (gain, null) if np.isfinite(gain) else None


def by_dimension(embeddings: FloatArray, attribute: AttackedAttribute) -> dict[str, Any]:
    """Finds the dimensions that carry the attribute, each on its own and without training: the value is the score.

    Args:
        embeddings: of the attacked users, ``[n, d]``.
        attribute: their classes.

    Returns:
        ``dimensions``: the ten with the largest advantage, as ``dimension`` (from 0), ``advantage`` and
        ``auc_per_class``; ``dimension_floor``: the largest advantage of d dimensions stays below it by chance, 95
        times in 100. A rotation of the embeddings spreads a leak over all dimensions and hides nothing from an
        attacker who sees them together.
    """
    ranks = rankdata(embeddings, axis=0)
    auc = _dimension_auc(ranks, attribute.codes)
    gains, rng = advantage(auc), np.random.default_rng(0)
    null = [advantage(_dimension_auc(ranks, rng.permutation(attribute.codes))).max() for _ in range(_PERMUTATIONS)]
    strongest = np.argsort(-gains, kind="stable")[:_SHOWN_DIMENSIONS]
    return {
        "dimensions": [
            {
                "dimension": int(d),
                "advantage": float(gains[d]),
                "auc_per_class": dict(zip(attribute.class_names, auc[d].tolist(), strict=True)),
            }
            for d in strongest
        ],
        "dimension_floor": float(np.quantile(null, 0.95, method="higher")),
    }


def _dimension_auc(ranks: FloatArray, codes: IntArray) -> FloatArray:
    """One-vs-rest AUC of every dimension, ``[d, K]``, from mid-ranks ``[n, d]``."""
    inside = codes[:, None] == np.arange(codes.max() + 1)
    return auc_from_rank_sums(ranks.T @ inside, inside.sum(axis=0), len(codes))
