"""Gaussians: the divergence of one from another, and how much a covariance has to be shrunk."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 1 << 16  # users whose lengths are taken at a time; a copy of all would cost memory


def gaussian_kl(mean: Tensor, covariance: Tensor, global_mean: Tensor, global_covariance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of Gaussians from another one.

    .. math:: \tfrac12 \bigl[ \log\det\Sigma - \log\det\Sigma_k - d + \operatorname{tr}(\Sigma^{-1}\Sigma_k)
        + (\mu - \mu_k)^\top \Sigma^{-1} (\mu - \mu_k) \bigr]

    Args:
        mean: :math:`\mu_k`, ``[..., d]``.
        covariance: :math:`\Sigma_k`, ``[..., d, d]``, positive definite.
        global_mean: :math:`\mu`, ``[..., d]``.
        global_covariance: :math:`\Sigma`, ``[..., d, d]``, positive definite.

    Returns:
        ``[...]``, >= 0 but for rounding.

    Raises:
        torch.linalg.LinAlgError: a covariance is not positive definite.

    Source:
        AttrCloak, eq. 17. By Cholesky factors, never by an inverse or a determinant.
    """
    offset = mean - global_mean
    factor = torch.linalg.cholesky(global_covariance)
    spread = covariance + offset.unsqueeze(-1) * offset.unsqueeze(-2)
    trace = torch.cholesky_solve(spread, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (log_det(factor) - log_det(torch.linalg.cholesky(covariance)) - mean.shape[-1] + trace) / 2


def ledoit_wolf_shrinkage(embeddings: Tensor, target: Tensor | None = None) -> float:
    r"""The weight of a target that brings a shrunk covariance closest to the true one in expectation.

    The shrunk covariance is :math:`(1 - \rho) S + \rho T`.

    Args:
        embeddings: ``[n, d]``, n >= 1.
        target: :math:`T`, ``[d, d]``; ``None`` for the sphere :math:`\frac{\operatorname{tr} S}{d} I`.

    Returns:
        :math:`\rho` in [0, 1]; 1 where the covariance is the target.

    Source:
        Ledoit and Wolf (2004), section 3.3.
    """
    centered = (embeddings - embeddings.mean(0)).double()
    n, width = centered.shape
    covariance = centered.t() @ centered / n
    if target is None:
        target = covariance.diagonal().mean() * torch.eye(width).to(covariance)
    distance = float((covariance - target).square().sum())
    fourth = sum(float(part.square().sum(1).square().sum()) for part in centered.split(_CHUNK))
    error = (fourth / n - float(covariance.square().sum())) / n
    return min(1.0, error / distance) if distance > 0 else 1.0


def log_det(factors: Tensor) -> Tensor:
    r""":math:`\log\det L L^\top` of Cholesky factors ``[..., d, d]``, ``[...]``."""
    return 2 * factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
