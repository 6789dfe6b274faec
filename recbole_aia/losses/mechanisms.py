"""Differential privacy: clipping, and how much Gaussian or Laplace noise a guarantee takes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEPS = 200  # halvings of an interval; 53 exhaust the digits of a double, and more cost nothing


def analytic_gaussian_scale(epsilon: float, delta: float, sensitivity: float = 1.0) -> float:
    r"""The least standard deviation of Gaussian noise that is (epsilon, delta)-differentially private.

    The smallest :math:`\sigma` with

    .. math:: \Phi\Bigl(\frac{\Delta}{2\sigma} - \frac{\epsilon\sigma}{\Delta}\Bigr)
        - e^\epsilon\, \Phi\Bigl(-\frac{\Delta}{2\sigma} - \frac{\epsilon\sigma}{\Delta}\Bigr) \le \delta

    Args:
        epsilon: > 0, of any size. The textbook's :math:`\sqrt{2 \ln(1.25/\delta)}\,\Delta/\epsilon` holds only below 1.
        delta: in (0, 1).
        sensitivity: :math:`\Delta`, the largest L2 distance between neighbors, >= 0.

    Returns:
        :math:`\sigma`, rounded up such that the inequality holds.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Balle and Wang (2018), theorem 8.
    """
    _check_budget(epsilon, sensitivity)
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, expected a number between 0 and 1")
    low, high = 0.0, 1.0
    while _gaussian_delta(high, epsilon) > delta:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _gaussian_delta(middle, epsilon) > delta:
            low = middle
        else:
            high = middle
    return high * sensitivity


def _gaussian_delta(sigma: float, epsilon: float) -> float:
    """The least delta that noise ``sigma`` gives at sensitivity 1: the left side of the inequality; 1 without noise."""
    if sigma == 0:
        return 1.0
    shift, slope = 1 / (2 * sigma), epsilon * sigma
    # e^epsilon alone would overflow; its product with the tail, taken in logarithms, does not.
    tail = _log_normal_cdf(-shift - slope)
    return _normal_cdf(shift - slope) - math.exp(min(epsilon + tail, 0.0))


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _log_normal_cdf(x: float) -> float:
    return float(torch.special.log_ndtr(torch.tensor(x, dtype=torch.float64)))


def laplace_scale(epsilon: float, sensitivity: float) -> float:
    """The scale of Laplace noise that is epsilon-differentially private, ``sensitivity / epsilon``.

    Args:
        epsilon: > 0.
        sensitivity: the largest L1 distance between neighbors, >= 0.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Dwork et al. (2006), proposition 1.
    """
    _check_budget(epsilon, sensitivity)
    return sensitivity / epsilon


def clip_rows(embeddings: Tensor, bound: float, order: int = 2) -> Tensor:
    r"""Rows shortened to a norm of at most ``bound``: :math:`y \min(1, b / \lVert y \rVert)`, ``[n, d]``.

    Two rows are then at most ``2 * bound`` apart in that norm, which is the sensitivity of releasing one of them.

    Args:
        embeddings: ``[n, d]``.
        bound: > 0.
        order: of the norm, 2 or 1.

    Source:
        Abadi et al. (2016), algorithm 1, there of gradients.
    """
    norms = torch.linalg.vector_norm(embeddings, ord=order, dim=1, keepdim=True)
    clipped: Tensor = embeddings * (bound / norms.clamp_min(bound))
    return clipped


def _check_budget(epsilon: float, sensitivity: float) -> None:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon is {epsilon}, expected a number > 0")
    if not (sensitivity >= 0 and math.isfinite(sensitivity)):
        raise ValueError(f"sensitivity is {sensitivity}, expected a number >= 0")
