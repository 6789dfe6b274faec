"""Sums of Gaussian kernels between all pairs of users, with a gradient, in memory for a strip of the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

# Users in a strip. For 6,040 users the strip's kernel and slopes then stay in a core's cache, or in a GPU's.
_ROWS, _ROWS_ON_GPU = 128, 1024


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
        ctx.widest, ctx.n_bandwidths, n_groups = widest, n_bandwidths, len(members)
        sums = users.new_zeros(n_bandwidths, n_groups, n_groups, dtype=torch.float64)
        for rows, later, kernel in _strips(users, widest):
            products = users.new_empty(n_bandwidths, n_groups, kernel.shape[1])
            for power, product in zip(_halved(kernel, n_bandwidths), products, strict=True):
                torch.mm(members[:, rows], power, out=product)
            inside, across = products.split([kernel.shape[0], kernel.shape[1] - kernel.shape[0]], dim=2)
            between = (across @ members[:, later].t()).double()
            sums += (inside @ members[:, rows].t()).double() + between + between.transpose(1, 2)
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        users, members = ctx.saved_tensors
        # A strip has each pair once, so the slopes of both orders are added; 2^s is the slope of the s-th exponent.
        halves = [-(2.0**s) / ctx.widest for s in range(ctx.n_bandwidths)]
        slopes = (grads[0] + grads[0].transpose(1, 2)).unbind()
        weights = torch.stack([slope * half for slope, half in zip(slopes, halves, strict=True)])
        weights = members.t() @ weights.to(users)
        # With a 1 as one more entry of each user, a product has the sum of its weights as well.
        ahead = torch.cat([users, users.new_ones(len(users), 1)], dim=1)
        pulls, rooms = torch.zeros_like(ahead), _rooms(users, 2)
        for rows, later, kernel in _strips(users, ctx.widest):
            weight_of, total = (room[: kernel.numel()].view_as(kernel) for room in rooms)
            for s, power in enumerate(_halved(kernel, ctx.n_bandwidths)):
                torch.mm(weights[s, rows], members[:, rows.start :], out=weight_of)
                torch.addcmul(total, weight_of, power, out=total) if s else torch.mul(weight_of, power, out=total)
            pulls[rows].addmm_(total, ahead[rows.start :])
            pulls[later].addmm_(total[:, rows.stop - rows.start :].t(), ahead[rows])
        return 2 * (pulls[:, -1:] * users - pulls[:, :-1]), None, None, None


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
    for start in range(0, len(users), _strip_rows(users)):
        rows = slice(start, min(start + _strip_rows(users), len(users)))
        kernel = room[: (rows.stop - start) * (len(users) - start)].view(-1, len(users) - start)
        torch.mm(left[rows], right[:, start:], out=kernel)
        yield rows, slice(rows.stop, len(users)), kernel.clamp_max_(0).exp_()


def _rooms(users: Tensor, count: int) -> list[Tensor]:
    """Memory that all strips share: allocating it for each strip would take longer than filling it."""
    return [users.new_empty(min(_strip_rows(users), len(users)) * len(users)) for _ in range(count)]


def _strip_rows(users: Tensor) -> int:
    return _ROWS_ON_GPU if users.is_cuda else _ROWS
