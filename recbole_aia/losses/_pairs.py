"""Sums of Gaussian kernels between all pairs of users, with a gradient, in memory for a strip of the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_ROWS = 128  # of a strip: one of 6,040 users, the kernel and its slopes, stays in a core's cache


def gaussian_sums(users: Tensor, members: Tensor, n_bandwidths: int, widest: float) -> Tensor:
    r"""Sums over pairs of groups of :math:`\exp(-|x - y|^2 / b)`, differentiable in the users once.

    Each bandwidth is half the one before, so each kernel is the square of the one before.

    Args:
        users: ``[n, d]``.
        members: who is in each group, 0 or 1, ``[G, n]``.
        n_bandwidths: how many, ``S``.
        widest: the first ``b``.

    Returns:
        ``[S, G, G]`` in double precision, a user's pair with itself included.
    """
    return _GaussianSums.apply(users, members, n_bandwidths, widest)  # type: ignore[no-any-return,no-untyped-call]


class _GaussianSums(torch.autograd.Function):
    """Autograd would keep every kernel between all users; here each strip is computed again backward."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, members: Tensor, n_bandwidths: int, widest: float) -> Tensor:
        ctx.save_for_backward(users, members)
        ctx.widest, n_groups = widest, len(members)
        sums = users.new_zeros(n_bandwidths, n_groups, n_groups, dtype=torch.float64)
        columns = members.t().contiguous()
        for rows, kernel in _strips(users, widest):
            for s, power in enumerate(_halved(kernel, n_bandwidths)):
                sums[s] += (members[:, rows] @ (power @ columns)).double()
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        users, members = ctx.saved_tensors
        # Of a pair in either order; and of the exponent -|x - y|^2 / b.
        halves = [-(2.0**s) / ctx.widest for s in range(len(grads[0]))]
        weights = [(slope + slope.t()).to(users) * half for slope, half in zip(grads[0], halves, strict=True)]
        slopes = torch.empty_like(users)
        for rows, kernel in _strips(users, ctx.widest):
            own, total = members[:, rows].t(), torch.zeros_like(kernel)
            for weight, power in zip(weights, _halved(kernel, len(weights)), strict=True):
                total.addcmul_((own @ weight) @ members, power)
            slopes[rows] = 2 * (total.sum(1, keepdim=True) * users[rows] - total @ users)
        return slopes, None, None, None


def _halved(kernel: Tensor, n_bandwidths: int) -> Iterator[Tensor]:
    """A kernel, and in its place those of each next bandwidth."""
    yield kernel
    for _ in range(n_bandwidths - 1):
        yield kernel.mul_(kernel)


def _strips(users: Tensor, widest: float) -> Iterator[tuple[slice, Tensor]]:
    """The widest kernel between some users and all, strip by strip; the caller may overwrite it."""
    norms = users.square().sum(1)
    for start in range(0, len(users), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = torch.addmm(norms, users[rows], users.t(), alpha=-2).add_(norms[rows].unsqueeze(1)).clamp_min_(0)
        yield rows, distances.mul_(-1 / widest).exp_()
