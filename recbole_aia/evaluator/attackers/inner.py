"""Cross-validation inside an attacker, among the users whose attribute it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.metrics import one_vs_rest_auc

#: Rows to learn from and rows to answer for.
Fold = tuple[IntArray, IntArray]


class InnerScores(NamedTuple):
    """Class probabilities of users that were not learned from, ``[n, K]``, and their folds, ``[n]``."""

    scores: FloatArray
    fold_of: IntArray

    @classmethod
    def of(cls, folds: Sequence[Fold], scores: Sequence[FloatArray]) -> InnerScores | None:
        """Joins the probabilities of all folds, each ``[m, K]``; None where there is no fold."""
        if not folds:
            return None
        n_users = sum(len(others) for _, others in folds)
        joined, fold_of = np.empty((n_users, scores[0].shape[1])), np.empty(n_users, dtype=np.int64)
        for fold, ((_, others), said) in enumerate(zip(folds, scores, strict=True)):
            joined[others], fold_of[others] = said, fold
        return cls(joined, fold_of)


def inner_folds(classes: IntArray, folds: int, seed: int) -> list[Fold]:
    """Stratified folds of the known users.

    Args:
        classes: ``[n]``, in ``0..K-1``.
        folds: at most this many, and never more than the smallest class has members.
        seed: of the folds.

    Returns:
        Empty where a class has a single member, who cannot be held out.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = min(folds, int(np.bincount(classes).min()))
    if folds < 2:
        return []
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(classes, classes))


def mean_auc(classes: IntArray, inner: InnerScores | None) -> FloatArray:
    """One-vs-rest AUC of every class, taken inside each fold and averaged, ``[K]``; 1/2 where nothing was held out."""
    if inner is None:
        return np.full(classes.max() + 1, 0.5)
    folds = [inner.fold_of == fold for fold in range(inner.fold_of.max() + 1)]
    mean: FloatArray = np.mean([one_vs_rest_auc(classes[fold], inner.scores[fold]) for fold in folds], axis=0)
    return mean
