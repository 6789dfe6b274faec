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
        for rows, later, kernel in _strips(users, widest):
            for s, power in enumerate(_halved(kernel, n_bandwidths)):
                products = members[:, rows] @ power
                width = rows.stop - rows.start
                sums[s] += (products[:, :width] @ members[:, rows].t()).double()
                across = (products[:, width:] @ members[:, later].t()).double()
                sums[s] += across + across.t()
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        users, members = ctx.saved_tensors
        # Of a pair in either order; and of the exponent -|x - y|^2 / b.
        halves = [-(2.0**s) / ctx.widest for s in range(len(grads[0]))]
        weights = [(slope + slope.t()).to(users) * half for slope, half in zip(grads[0], halves, strict=True)]
        slopes, rooms = torch.zeros_like(users), _rooms(users, 2)
        for rows, later, kernel in _strips(users, ctx.widest):
            weight_of, total = (room[: kernel.numel()].view_as(kernel) for room in rooms)
            total.zero_()
            for weight, power in zip(weights, _halved(kernel, len(weights)), strict=True):
                torch.mm(members[:, rows].t() @ weight, members[:, rows.start :], out=weight_of)
                total.addcmul_(weight_of, power)
            across = total[:, rows.stop - rows.start :]
            slopes[rows] += 2 * (total.sum(1, keepdim=True) * users[rows] - total @ users[rows.start :])
            slopes[later] += 2 * (across.sum(0).unsqueeze(1) * users[later] - across.t() @ users[rows])
        return slopes, None, None, None


def _halved(kernel: Tensor, n_bandwidths: int) -> Iterator[Tensor]:
    """A kernel, and in its place those of each next bandwidth."""
    yield kernel
    for _ in range(n_bandwidths - 1):
        yield kernel.mul_(kernel)


def _strips(users: Tensor, widest: float) -> Iterator[tuple[slice, slice, Tensor]]:
    """Users strip by strip, those who come later, and the widest kernel between the strip and both.

    Each pair of users is in it once, but for those within a strip. The caller may overwrite the kernel.
    """
    norms, ones = users.square().sum(1, keepdim=True) / -widest, users.new_ones(len(users), 1)
    # The exponent as one product.
    left = torch.cat([users * (2 / widest), norms, ones], dim=1)
    right = torch.cat([users, ones, norms], dim=1).t()
    (room,) = _rooms(users, 1)
    for start in range(0, len(users), _ROWS):
        rows = slice(start, min(start + _ROWS, len(users)))
        kernel = room[: (rows.stop - start) * (len(users) - start)].view(-1, len(users) - start)
        torch.mm(left[rows], right[:, start:], out=kernel)
        yield rows, slice(rows.stop, len(users)), kernel.clamp_max_(0).exp_()


def _rooms(users: Tensor, count: int) -> list[Tensor]:
    """Memory for strips, which is used again: handing it out for each anew takes longer than filling it."""
    return [users.new_empty(min(_ROWS, len(users)) * len(users)) for _ in range(count)]
