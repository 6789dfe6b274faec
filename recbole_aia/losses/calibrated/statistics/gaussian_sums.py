"""Sums of Gaussian kernels between all pairs of users, with a gradient, in memory for a strip of the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_ROWS = 128  # users in a strip; for 6,040 users the strip's kernel and slopes then stay in a core's cache


def gaussian_sums(users: Tensor, members: Tensor, n_bandwidths: int, widest: float) -> Tensor:
    r"""Sums over pairs of groups of :math:`\exp(-|x - y|^2 / b)`, differentiable in the users once.

    Each bandwidth is half the one before, so each kernel is the square of the one before.

    Args:
        users: ``[n, d]``.
        members: who is in each group, 0 or 1, ``[G, n]``.
        n_bandwidths: how many bandwidths, ``S``.
        widest: the first ``b``.

    Returns:
        ``[S, G, G]`` in double precision. A user's pair with itself is part of the sums.
    """
    return _GaussianSums.apply(users, members, n_bandwidths, widest)  # type: ignore[no-any-return,no-untyped-call]


class _GaussianSums(torch.autograd.Function):
    """Computes each strip again backward; autograd would keep every kernel between all users."""

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
        # A strip has each pair once, so the slopes of both orders are added; 2^s is the slope of the s-th exponent.
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
    """The kernel of each bandwidth in turn, each in place of the one before."""
    yield kernel
    for _ in range(n_bandwidths - 1):
        yield kernel.mul_(kernel)


def _strips(users: Tensor, widest: float) -> Iterator[tuple[slice, slice, Tensor]]:
    """Strips of users: its rows, all rows after it, and the widest kernel between the strip and both.

    Each pair of users is there once, but for pairs within a strip, which are there in both orders. The caller may
    overwrite the kernel.
    """
    norms, ones = users.square().sum(1, keepdim=True) / -widest, users.new_ones(len(users), 1)
    # The exponent -|x - y|^2 / b = (2 x.y - |x|^2 - |y|^2) / b is one product of rows with two more entries.
    left = torch.cat([users * (2 / widest), norms, ones], dim=1)
    right = torch.cat([users, ones, norms], dim=1).t()
    (room,) = _rooms(users, 1)
    for start in range(0, len(users), _ROWS):
        rows = slice(start, min(start + _ROWS, len(users)))
        kernel = room[: (rows.stop - start) * (len(users) - start)].view(-1, len(users) - start)
        torch.mm(left[rows], right[:, start:], out=kernel)
        yield rows, slice(rows.stop, len(users)), kernel.clamp_max_(0).exp_()


def _rooms(users: Tensor, count: int) -> list[Tensor]:
    """Memory that all strips share: allocating it for each strip would take longer than filling it."""
    return [users.new_empty(min(_ROWS, len(users)) * len(users)) for _ in range(count)]
