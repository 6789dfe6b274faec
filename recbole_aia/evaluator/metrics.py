"""Metrics of an attack, as pure functions of counts and scores."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from recbole_aia.config.types import FloatArray, IntArray


def confusion_counts(true: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Counts users by true and predicted class.

    Args:
        true: classes in ``0..n_classes-1``, ``[n]``.
        predicted: the same, ``[n]``.
        n_classes: K.

    Returns:
        ``[K, K]``, rows are true classes. Counts of several folds may be added.
    """
    flat = np.bincount(true * n_classes + predicted, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def accuracy(counts: IntArray) -> FloatArray:
    r"""Share of users whose class is predicted, :math:`\sum_k C_{kk} / \sum_{kl} C_{kl}`, equal to micro-averaged F1.

    ``[..., K, K]`` to ``[...]``.
    """
    share: FloatArray = np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))
    return share


def balanced_accuracy(counts: IntArray) -> FloatArray:
    r"""Mean recall :math:`C_{kk} / \sum_l C_{kl}` over the classes that have members, ``[..., K, K]`` to ``[...]``."""
    hits, members = _diagonal(counts), counts.sum(axis=-1)
    recalls = np.where(members > 0, hits / np.maximum(members, 1), 0.0)
    mean: FloatArray = recalls.sum(axis=-1) / (members > 0).sum(axis=-1)
    return mean


def f1_macro(counts: IntArray) -> FloatArray:
    r"""Mean over all K classes of :math:`2 C_{kk} / (\sum_l C_{kl} + \sum_l C_{lk})`, ``[..., K, K]`` to ``[...]``.

    A class that is neither present nor predicted counts as 0, as in scikit-learn.
    """
    mean: FloatArray = _f1_of_classes(counts).mean(axis=-1)
    return mean


def f1_binary(counts: IntArray) -> FloatArray:
    r"""F1 of the last class, :math:`2 C_{11} / (\sum_l C_{1l} + \sum_l C_{l1})`, ``[..., 2, 2]`` to ``[...]``.

    An attacker who answers one class for all users gets 2/3 or 0 of balanced users, so the mean over folds says in how
    many of them it answered this class. RAID's F1 of a binary attribute is this mean.
    """
    last: FloatArray = _f1_of_classes(counts)[..., 1]
    return last


def one_vs_rest_auc(true: IntArray, scores: FloatArray) -> FloatArray:
    r"""Area under the ROC curve of every class against the rest, ties counted half.

    .. math:: AUC_k = \frac{\sum_{i \in k} r_{ik} - N_k (N_k + 1) / 2}{N_k (N - N_k)}

    with :math:`r_{ik}` the mid-rank of user i among the scores for class k.

    Args:
        true: classes, ``[n]``.
        scores: ``[n, K]``, larger is more like class k. Users must have been scored by one model:
            scores of differently trained models cannot be ranked together.

    Returns:
        ``[K]`` in [0, 1], never folded to >= 0.5; NaN for a class with no members or no others.

    Source:
        Hanley & McNeil (1982), the Mann-Whitney form; Forman & Scholz (2010) on not pooling folds.
    """
    inside = true[:, None] == np.arange(scores.shape[1])
    return auc_from_rank_sums((rankdata(scores, axis=0) * inside).sum(axis=0), inside.sum(axis=0), len(true))


def auc_from_rank_sums(rank_sums: FloatArray, members: FloatArray | IntArray, total: int | IntArray) -> FloatArray:
    """The formula of :func:`one_vs_rest_auc`, elementwise."""
    pairs = members * (total - members)
    wins = rank_sums - members * (members + 1) / 2
    auc: FloatArray = np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)
    return auc


def advantage(auc_per_class: FloatArray) -> FloatArray:
    r"""The attacker's gain over guessing, :math:`2\,\mathrm{mean}_k |AUC_k - 1/2|`.

    Answers below chance count too, because an attacker who knows the defense inverts them. One class above 1/2
    does not cancel another below it. Chance alone makes the advantage positive: compare it with its floor.

    Args:
        auc_per_class: ``[..., K]`` in [0, 1].

    Returns:
        ``[...]`` in [0, 1].
    """
    gain: FloatArray = 2 * np.abs(auc_per_class - 0.5).mean(axis=-1)
    return gain


def _diagonal(counts: IntArray) -> IntArray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _f1_of_classes(counts: IntArray) -> FloatArray:
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    scores: FloatArray = 2 * _diagonal(counts) / np.maximum(either, 1)
    return scores
