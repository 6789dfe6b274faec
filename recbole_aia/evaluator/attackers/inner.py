"""Cross-validation inside an attacker, among the users whose attribute it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from recbole_aia.evaluator.metrics import one_vs_rest_auc

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

#: From rows to learn from and rows to answer for, to class probabilities of the latter, ``[m, K]``.
Answer = Callable[[IntArray, IntArray], FloatArray]


class InnerScores(NamedTuple):
    """Class probabilities of users that were not learned from, ``[n, K]``, and their folds, ``[n]``."""

    scores: FloatArray
    fold_of: IntArray


def held_out(answer: Answer, classes: IntArray, folds: int, seed: int) -> InnerScores | None:
    """Lets ``answer`` score every known user from the others.

    Args:
        answer: fits on the rows of its first argument and scores those of its second.
        classes: ``[n]``, in ``0..K-1``.
        folds: at most this many, and never more than the smallest class has members.
        seed: of the folds.

    Returns:
        None where a class has a single member, so that nothing can be held out.
    """
    counts = np.bincount(classes)
    folds = min(folds, int(counts.min()))
    if folds < 2:
        return None
    scores = np.empty((len(classes), len(counts)))
    fold_of = np.empty(len(classes), dtype=np.int64)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fold, (known, others) in enumerate(splitter.split(classes, classes)):
        scores[others], fold_of[others] = answer(known, others), fold
    return InnerScores(scores, fold_of)


def mean_auc(classes: IntArray, inner: InnerScores | None) -> FloatArray:
    """One-vs-rest AUC of every class, taken inside each fold and averaged, ``[K]``; 1/2 where nothing was held out."""
    if inner is None:
        return np.full(classes.max() + 1, 0.5)
    folds = [inner.fold_of == fold for fold in range(inner.fold_of.max() + 1)]
    mean: FloatArray = np.mean([one_vs_rest_auc(classes[fold], inner.scores[fold]) for fold in folds], axis=0)
    return mean
