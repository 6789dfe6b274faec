"""How sure a cross-validated number is, and what chance alone would have shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from recbole_aia.evaluator.metrics import advantage, auc_from_rank_sums

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

_SHARED_USERS = np.sqrt(2.0)
_CHUNK_BYTES = 2**26


def corrected_interval(
    values: FloatArray, test_train_ratio: float, center: float | None = None
) -> tuple[float, float, float]:
    r"""Mean and 95 % interval of repeated cross-validation.

    .. math:: \bar x \pm t_{0.975,\,J-1} \sqrt{\Bigl(\frac1J + \frac{n_{test}}{n_{train}}\Bigr) s^2}

    The second term stands for the overlap of the training sets, without which the interval shrinks to
    nothing as repeats are added.

    Args:
        values: one value a fold, ``[J]`` with J = folds x repeats >= 2, each in [-1, 1].
        test_train_ratio: held-out over training users; ``1 / (folds - 1)``.
        center: the estimate, where it is not the mean of ``values``.

    Returns:
        Estimate, lower and upper end; the ends clipped to [0, 1].

    Source:
        Nadeau & Bengio (2003), Inference for the generalization error.
    """
    count = len(values)
    mean = float(np.mean(values)) if center is None else center
    variance = (1 / count + test_train_ratio) * float(np.var(values, ddof=1))
    half = float(t.ppf(0.975, count - 1)) * variance**0.5
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def majority_floor(codes: IntArray) -> float:
    """Accuracy of always answering the largest class, in (0, 1]; ``codes`` is ``[n]``."""
    return float(np.bincount(codes).max() / len(codes))


def permuted_advantages(
    codes: IntArray, scores: FloatArray, fold_of: IntArray, permutations: int, seed: int
) -> FloatArray:
    r"""Advantages that an attacker has by honest chance.

    Held-out scores stay as they are; labels are permuted over all users, one permutation for all
    repeats; AUCs are taken inside each fold and averaged as for the result itself.

    Refitting is too slow, and leaving it out needs a correction, because a user is scored in one fold
    and has taught the others. Take an attacker that is linear in the labels :math:`z` (centred,
    independent under the null), scoring user i by :math:`\sum_j K_{ij} z_j` with :math:`K_{ij} = 0`
    where i and j share a fold. The deviation of its mean AUC is proportional to

    .. math:: T = \sum_{ij} K_{ij} z_i z_j,\quad
        \operatorname{Var} T = \sum_{ij} (K_{ij}^2 + K_{ij} K_{ji}) \le 2 \sum_{ij} K_{ij}^2 .

    A permutation of the outer :math:`z_i` alone sees :math:`\sum_i (\sum_j K_{ij} z_j)^2`, which is
    :math:`\sum_{ij} K_{ij}^2` on average: half, when K is symmetric, as for a mean difference
    (:math:`\sum_f w_f^\top \delta_f` with :math:`w_f = \sum_{h \ne f} \delta_h` counts every pair of folds
    twice). Deviations from 1/2 are therefore widened by :math:`\sqrt 2`: right for symmetric smoothers
    such as ridge regression, an upper bound for any other smoother (neighbours), and checked by simulation
    for what is not linear in the labels (networks, trees).

    Args:
        codes: classes in ``0..K-1``, ``[n]``.
        scores: held-out scores of every repeat, ``[R, n, K]``.
        fold_of: the fold that held out each user, ``[R, n]``.
        permutations: how many, >= 20.
        seed: of the permutations.

    Returns:
        ``[permutations]``, >= 0. The permutations follow from ``codes``, their number and ``seed`` alone: draws
        of several attackers on the same users belong together, see :func:`floor95`.

    Source:
        Ojala & Garriga (2010) for permuted nulls of classifiers; the correction is derived here.
    """
    ranks, member = _held_out_ranks(scores, fold_of)
    sizes = member.sum(axis=0).astype(int)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_BYTES // (8 * len(codes)))
    null = []
    for start in range(0, permutations, chunk):
        rows = min(chunk, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(codes, (rows, len(codes))), axis=1)
        means = np.stack([_mean_auc(shuffled == k, r, member, sizes) for k, r in enumerate(ranks)])
        null.append(advantage(means.T))
    widened: FloatArray = _SHARED_USERS * np.concatenate(null)
    return widened


def floor95(draws: Sequence[FloatArray]) -> float:
    """The advantage that honest chance stays below 95 times in 100, for the best of several attackers.

    Whoever reports the strongest of many attackers has chosen the luckiest too. All attackers meet the
    same permutation of the labels, and the largest of their advantages is what chance shows then: attackers
    that answer alike add little, unlike in a Bonferroni correction.

    Args:
        draws: :func:`permuted_advantages` of each attacker, ``[P]``; one for the floor of that attacker alone.

    Returns:
        In [0, 1]: compare :func:`~recbole_aia.evaluator.metrics.advantage` with it.

    Source:
        Westfall & Young (1993), Resampling-based multiple testing, the single-step maximum.
    """
    return min(1.0, float(np.quantile(np.max(draws, axis=0), 0.95, method="higher")))


def _mean_auc(inside: NDArray[np.bool_], ranks: FloatArray, member: FloatArray, sizes: IntArray) -> FloatArray:
    """AUC of one class under P labelings ``[P, n]``, averaged over the J folds where it is defined."""
    labels = inside.astype(float)
    auc = auc_from_rank_sums(labels @ ranks, labels @ member, sizes)
    mean: FloatArray = np.nanmean(auc, axis=1)
    return mean


def _held_out_ranks(scores: FloatArray, fold_of: IntArray) -> tuple[FloatArray, FloatArray]:
    """Ranks inside every fold, ``[K, n, J]``, 0 elsewhere; and who is in which fold, ``[n, J]``."""
    repeats, users, classes = scores.shape
    folds = int(fold_of.max()) + 1
    ranks = np.zeros((classes, users, repeats * folds))
    member = np.zeros((users, repeats * folds))
    for repeat in range(repeats):
        for fold in range(folds):
            held_out, column = fold_of[repeat] == fold, repeat * folds + fold
            member[held_out, column] = 1.0
            ranks[:, held_out, column] = rankdata(scores[repeat, held_out], axis=0).T
    return ranks, member
