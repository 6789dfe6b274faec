"""The standard deviation of a kernel between users, which is the unit of its statistic."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(kernel: Tensor) -> Tensor:
    r""":math:`(2 \operatorname{mean}_{i \ne j} \tilde K_{ij}^2)^{1/2}` of a kernel, U-centered.

    .. math:: \tilde K_{ij} = K_{ij} - \tfrac{1}{n - 2} \sum_{l \ne i} K_{il} - \tfrac{1}{n - 2} \sum_{l \ne j} K_{lj}
        + \tfrac{1}{(n - 1)(n - 2)} \sum_{l \ne m} K_{lm}

    Args:
        kernel: ``[n, n]``, symmetric, n >= 4. Its diagonal does not count: a single user who is far from all others
            would make up the unit alone.

    Returns:
        Scalar, >= 0; 0 up to rounding for a kernel that is the same between all users.

    Source:
        Székely and Rizzo (2014) for the centering.
    """
    n = len(kernel)
    # Subtracting the mean first changes nothing but rounding, which matters for kernels that are nearly constant.
    pairs = (kernel - (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))).fill_diagonal_(0.0)
    rows = pairs.sum(0)
    squares = torch.dot(pairs.view(-1), pairs.view(-1)) - 2 / (n - 2) * torch.dot(rows, rows)
    return (2 * (squares + rows.sum().square() / ((n - 1) * (n - 2))).clamp_min(0) / (n * (n - 1))).sqrt()
