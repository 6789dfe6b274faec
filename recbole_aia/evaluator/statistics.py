"""Intervals and tests of cross-validated numbers, and the advantages that chance alone gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, t

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.metrics import advantage, auc_from_rank_sums

_SHARED_USERS = np.sqrt(2.0)
_CHUNK_BYTES = 2**26


def corrected_interval(
    values: FloatArray, test_train_ratio: float, center: float | None = None
) -> tuple[float, float, float]:
    r"""Mean and 95 % interval of repeated cross-validation.

    .. math:: \bar x \pm t_{0.975,\,J-1} \sqrt{\Bigl(\frac1J + \frac{n_{test}}{n_{train}}\Bigr) s^2}

    The second term accounts for the overlap of the training sets. Without it the interval would shrink to nothing
    as repeats are added.

    Args:
        values: one value a fold, ``[J]`` with J = folds x repeats >= 2, each in [-1, 1].
        test_train_ratio: held-out over training users; ``1 / (folds - 1)``.
        center: the estimate, where it is not the mean of ``values``.

    Returns:
        Estimate, lower and upper end; the ends clipped to [0, 1].

    Source:
        Nadeau & Bengio (2003), Inference for the generalization error.
    """
    mean = float(np.mean(values)) if center is None else center
    half = float(t.ppf(0.975, len(values) - 1)) * _corrected_error(values, test_train_ratio)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


class Difference(NamedTuple):
    """A paired difference in [-1, 1], its 95 % interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p_value: float


def corrected_difference(before: FloatArray, after: FloatArray, test_train_ratio: float) -> Difference:
    r"""Compares two results of the same repeated cross-validation, fold by fold.

    .. math:: t = \bar x \Big/ \sqrt{\Bigl(\frac1J + \frac{n_{test}}{n_{train}}\Bigr) s^2},\quad
        x_j = after_j - before_j

    Args:
        before: one value a fold, ``[J]`` with J >= 2, each in [-1, 1].
        after: the same folds, ``[J]``.
        test_train_ratio: held-out over training users.

    Returns:
        After minus before. Where all folds have exactly the same difference, the p-value is 0, or 1 if it is 0.

    Source:
        Nadeau & Bengio (2003), the corrected resampled t-test.
    """
    values = after - before
    mean, error, freedom = float(np.mean(values)), _corrected_error(values, test_train_ratio), len(values) - 1
    if error == 0:
        return Difference(mean, mean, mean, float(mean == 0))
    half = float(t.ppf(0.975, freedom)) * error
    p_value = 2 * float(t.sf(abs(mean) / error, freedom))
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values of several tests, so that any false finding among all is no likelier than in one test.

    Args:
        p_values: ``[m]`` in [0, 1].

    Returns:
        The adjusted ones in the same order, in [0, 1], none smaller than before.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return [float(value) for value in adjusted]


def _corrected_error(values: FloatArray, test_train_ratio: float) -> float:
    """Standard error of the mean over folds whose training sets overlap."""
    variance = (1 / len(values) + test_train_ratio) * float(np.var(values, ddof=1))
    return float(variance**0.5)


def majority_floor(codes: IntArray) -> float:
    """Accuracy of always answering the largest class, in (0, 1]; ``codes`` is ``[n]``."""
    return float(np.bincount(codes).max() / len(codes))


def permuted_advantages(
    codes: IntArray, scores: FloatArray, fold_of: IntArray, permutations: int, seed: int, *, learned: bool = True
) -> FloatArray:
    r"""Draws advantages that an attacker has by chance alone.

    Held-out scores stay as they are; labels are permuted over all users, one permutation for all
    repeats; AUCs are taken inside each fold and averaged as for the result itself.

    Refitting for each permutation would be too slow. Without it a correction is needed, because a user is scored in
    one fold and is learned from in the others. Take an attacker that is linear in the labels :math:`z` (centred,
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
        learned: whether the scores come from an attacker that learned from labels; other scores need no correction.

    Returns:
        ``[permutations]``, >= 0. The permutations follow from ``codes``, their number and ``seed`` alone: draws
        of several attackers on the same users belong together, see :func:`floor95`.

    Source:
        Ojala & Garriga (2010) for permuted nulls of classifiers; the correction is derived here.
    """
    held_out = [(users, ranks) for r, folds in enumerate(fold_of) for users, ranks in _ranks(scores[r], folds)]
    rng = np.random.default_rng(seed)
    codes = codes.astype(np.min_scalar_type(codes.max()))
    chunk = max(1, _CHUNK_BYTES // (8 * len(codes)))
    null = []
    for start in range(0, permutations, chunk):
        rows = min(chunk, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(codes, (rows, len(codes))), axis=1)
        null.append(advantage(_mean_auc(shuffled, held_out)))
    draws: FloatArray = np.concatenate(null)
    return _SHARED_USERS * draws if learned else draws


def floor95(draws: Sequence[FloatArray]) -> float:
    """The value below which chance keeps the largest advantage of several attackers, 95 times in 100.

    The strongest of several attackers is also the luckiest, so its floor is higher than that of a single one. For
    each permutation of the labels, which all attackers share, the largest of their advantages counts. Attackers that
    answer alike raise the floor little, unlike in a Bonferroni correction.

    Args:
        draws: :func:`permuted_advantages` of each attacker, ``[P]``; one for the floor of that attacker alone.

    Returns:
        In [0, 1], 1 where no draw is defined: compare :func:`~recbole_aia.evaluator.metrics.advantage` with it.

    Source:
        Westfall & Young (1993), Resampling-based multiple testing, the single-step maximum.
    """
    largest = np.max(draws, axis=0)
    # A permutation may leave a small class out of every fold, and then has no advantage to draw.
    largest = largest[np.isfinite(largest)]
    return min(1.0, float(np.quantile(largest, 0.95, method="higher"))) if len(largest) else 1.0


def _mean_auc(codes: IntArray, held_out: list[tuple[IntArray, FloatArray]]) -> FloatArray:
    """AUCs ``[P, K]`` of P labelings ``[P, n]``, averaged over the folds where they are defined.

    Folds go one by one: users times folds at once is too much for many users.
    """
    classes = range(held_out[0][1].shape[1])
    auc = np.empty((len(held_out), len(codes), len(classes)))
    for fold, (users, ranks) in enumerate(held_out):
        labels = codes[:, users]
        for k in classes:
            inside = (labels == k).astype(float)
            auc[fold, :, k] = auc_from_rank_sums(inside @ ranks[:, k], inside.sum(axis=1), len(users))
    mean: FloatArray = np.nanmean(auc, axis=0)
    return mean


def _ranks(scores: FloatArray, fold_of: IntArray) -> list[tuple[IntArray, FloatArray]]:
    """Who is in each fold ``[m]``, and the ranks of their scores ``[m, K]`` among them."""
    folds = [np.flatnonzero(fold_of == fold) for fold in range(int(fold_of.max()) + 1)]
    return [(users, rankdata(scores[users], axis=0)) for users in folds]
