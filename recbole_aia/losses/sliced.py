"""Sliced Wasserstein distance between classes of users."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor


def sliced_wasserstein(embeddings: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
    r"""Squared 2-Wasserstein distance of classes along directions: its mean over directions, summed over pairs.

    .. math:: \sum_{k<l} \frac1P \sum_p \int_0^1
        \bigl(F^{-1}_{k,p}(t) - F^{-1}_{l,p}(t)\bigr)^2 \, dt

    :math:`F^{-1}_{k,p}` are quantiles of class k projected on direction p. The integral is exact for classes of any
    sizes, because quantiles of n users are constant between multiples of 1/n.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n]``, integers; users with a negative label do not take part.
        directions: ``[d, P]``, of length 1.

    Returns:
        Scalar, >= 0, and 0 where projected classes have equal quantiles.

    Raises:
        ValueError: fewer than two classes have users.

    Source:
        Bonneel et al. (2015), definition 2.
    """
    labels = labels.to(embeddings.device)
    present = labels[labels >= 0].unique()
    if len(present) < 2:
        raise ValueError(f"{len(present)} class has users, expected at least two to bring together")
    projected = embeddings @ directions
    ordered = [projected[labels == k].sort(dim=0).values for k in present]
    total: Tensor = torch.stack([_transported(one, other) for one, other in combinations(ordered, 2)]).sum()
    return total


def random_directions(width: int, count: int, generator: torch.Generator) -> Tensor:
    """Directions drawn evenly from the sphere, ``[width, count]``, on the generator's device."""
    drawn = torch.randn(width, count, generator=generator, device=generator.device)
    directions: Tensor = drawn / drawn.norm(dim=0)
    return directions


def _transported(one: Tensor, other: Tensor) -> Tensor:
    """The mean squared distance of quantiles of two sorted samples ``[n, P]`` and ``[m, P]``."""
    n, m, device = len(one), len(other), one.device
    # Ends of the pieces on which both quantiles are constant, in units of 1 / (n m): whole numbers, so none is missed.
    ends = torch.cat([torch.arange(1, n + 1, device=device) * m, torch.arange(1, m + 1, device=device) * n]).unique()
    lengths = torch.diff(ends, prepend=ends.new_zeros(1)).to(one.dtype) / (n * m)
    gaps = one[(ends - 1) // m] - other[(ends - 1) // n]
    return lengths @ gaps.square().mean(1)
