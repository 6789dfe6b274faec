"""Which items tell an attribute, and profiles to which items of the opposite class are added (BlurMe and its kin)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recbole_aia.config.types import FloatArray, IntArray

Bools = NDArray[np.bool_]
Choose = Literal["greedy", "sampled", "random"]
_NOTHING = 1e-9  # coefficients below this are rounding errors: nobody has the item
_LIKED = 0.1  # share of a user's neighbors who must have an item for it to count as liked by them


#: How strongly items speak for each class of an attribute, by column of the labels; see :func:`telling_items`.
Tells = Mapping[int, FloatArray]


def telling_items(profiles: sp.csr_matrix, labels: IntArray, folds: int = 10, seed: int = 0) -> FloatArray:
    """Learns which items speak for which class, by logistic regressions on profiles.

    Args:
        profiles: users and their items, ``[n, m]``, ones.
        labels: ``[n]``, from 0; -1 for users without a label, who are left out.
        folds: regressions, each without one part of the users.
        seed: of the parts.

    Returns:
        ``[K, m]`` in [-1, 1]: the rank of the size of an item's coefficient, averaged over the regressions, as a share
        of the largest rank. It is positive where the mean coefficient speaks for the class, negative where it speaks
        against it, and 0 for items that say nothing.

    Source:
        BlurMe (Weinsberg et al. 2012), section 4.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression

    known = np.flatnonzero(labels >= 0)
    n_classes, n_items = int(labels.max()) + 1, profiles.shape[1]
    part_of = np.random.default_rng(seed).permutation(len(known)) % folds
    ranks, totals = np.zeros((n_classes, n_items)), np.zeros((n_classes, n_items))
    for fold in range(folds):
        rows = known[part_of != fold]
        learned = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200).fit(profiles[rows], labels[rows])
        found = np.vstack([-learned.coef_, learned.coef_]) if len(learned.classes_) == 2 else learned.coef_
        ranks[learned.classes_] += rankdata(np.abs(found), axis=1) / (n_items * folds)
        totals[learned.classes_] += found
    totals[np.abs(totals) < _NOTHING] = 0
    strengths: FloatArray = np.sign(totals) * ranks
    return strengths


def additions(
    profiles: sp.csr_matrix,
    labels: IntArray,
    tells: Tells,
    share: float,
    choose: Choose = "greedy",
    *,
    most_popular: float | None = None,
    neighbors: int | None = None,
    seed: int = 0,
) -> IntArray:
    """The interactions that obfuscation adds: unseen items that speak against the user's classes.

    Args:
        profiles: users and their items, ``[n, m]``, ones.
        labels: ``[n, A]``, -1 for no label; users without any label get nothing.
        tells: what items say of each attribute, by column of ``labels``.
        share: items added to a user, as a share of the user's own.
        choose: ``greedy``: those that speak loudest; ``sampled``: by how loud; ``random``: any that speak against.
        most_popular: largest factor by which an item's popularity may grow; ``None``: any. 2 is BlurM(or)e's.
        neighbors: number of nearest users, by the cosine of profiles, of whom a tenth must have an item; ``None``: any
            item. PerBlur has 30 to 50.
        seed: of the order of users and of draws.

    Returns:
        Pairs of user and item, ``[k, 2]``.

    Source:
        BlurMe (Weinsberg et al. 2012); BlurM(or)e (Strucks et al. 2019); PerBlur (Slokom et al. 2021).
    """
    rng, (n_users, n_items) = np.random.default_rng(seed), profiles.shape
    popularity = np.asarray(profiles.sum(0)).ravel()
    room = np.full(n_items, np.inf) if most_popular is None else np.floor((most_popular - 1) * popularity)
    unit = sp.csr_matrix(sp.diags(1 / np.sqrt(np.maximum(np.diff(profiles.indptr), 1))) @ profiles)
    added = []
    for user in rng.permutation(n_users):
        own = profiles.indices[profiles.indptr[user] : profiles.indptr[user + 1]]
        budget = round(share * len(own))
        if not budget or (labels[user] < 0).all():
            continue
        scores = np.maximum(-own_strengths(tells, labels[user]), 0)
        scores[own] = 0
        scores[room < 1] = 0
        if neighbors is not None:
            scores[~_liked_by_neighbors(profiles, unit, user, neighbors)] = 0
        items = _chosen(scores, budget, choose, rng)
        room[items] -= 1
        added.append(np.stack([np.full(len(items), user), items], axis=1))
    return np.concatenate(added) if added else np.empty((0, 2), dtype=np.int64)


def removals(
    profiles: sp.csr_matrix, labels: IntArray, tells: Tells | None, counts: IntArray, seed: int = 0
) -> IntArray:
    """Interactions to take out of profiles: those that speak loudest for the user's classes, or random ones.

    Args:
        profiles: users and their items, ``[n, m]``, ones.
        labels: ``[n, A]``, -1 for no label.
        tells: what items say of each attribute, by column of ``labels``; ``None`` takes random interactions.
        counts: how many interactions each user loses, ``[n]``; one always stays.
        seed: of random interactions and of ties.

    Returns:
        Pairs of user and item, ``[k, 2]``.
    """
    rng, removed = np.random.default_rng(seed), []
    for user in np.flatnonzero(counts):
        own = rng.permutation(profiles.indices[profiles.indptr[user] : profiles.indptr[user + 1]])
        if tells is not None:
            own = own[np.argsort(-own_strengths(tells, labels[user])[own], kind="stable")]
        gone = own[: min(int(counts[user]), len(own) - 1)]
        removed.append(np.stack([np.full(len(gone), user), gone], axis=1))
    return np.concatenate(removed) if removed else np.empty((0, 2), dtype=np.int64)


def balancing_counts(profiles: sp.csr_matrix, total: int) -> IntArray:
    """How many interactions each user loses such that ``total`` go, in proportion to what is beyond the mean profile.

    Returns:
        ``[n]``; 0 for profiles of at most the mean length.
    """
    lengths = np.diff(profiles.indptr)
    beyond = np.maximum(lengths - lengths.mean(), 0.0)
    if not beyond.any():
        return np.zeros(len(lengths), dtype=np.int64)
    exact = beyond * min(1.0, total / beyond.sum())
    counts: IntArray = np.floor(exact).astype(np.int64)
    # The largest remainders get what rounding has left.
    left = min(total, int(beyond.sum())) - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[: max(left, 0)]] += 1
    return counts


def own_strengths(tells: Tells, own: IntArray) -> FloatArray:
    """How strongly each item speaks for a user's classes ``own [A]``, summed over attributes, ``[m]``."""
    known = [strengths[own[column]] for column, strengths in tells.items() if own[column] >= 0]
    total: FloatArray = np.sum(known, axis=0)
    return total


def _chosen(scores: FloatArray, budget: int, choose: Choose, rng: np.random.Generator) -> IntArray:
    candidates = np.flatnonzero(scores)
    if choose == "greedy":
        return candidates[np.argsort(-scores[candidates], kind="stable")][:budget]
    weights: Any = scores[candidates] / scores[candidates].sum() if choose == "sampled" and len(candidates) else None
    return rng.choice(candidates, min(budget, len(candidates)), replace=False, p=weights)


def _liked_by_neighbors(profiles: sp.csr_matrix, unit: sp.csr_matrix, user: int, neighbors: int) -> Bools:
    """Whether a tenth of a user's nearest users have each item, ``[m]``; ``unit`` are profiles of length 1."""
    alike = (unit @ unit[user].T).toarray().ravel()
    alike[user] = -1  # nobody is a neighbor of oneself
    count = min(neighbors, len(alike) - 1)
    nearest = np.argpartition(-alike, count - 1)[:count]
    liked: Bools = np.asarray(profiles[nearest].sum(0)).ravel() >= _LIKED * count
    return liked
