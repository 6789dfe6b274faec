"""The shortest way that takes classes of users to where random groups of their sizes stand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_aia.losses.discrepancy import ClassDiscrepancy

_ENOUGH = 0.5  # standard deviations of permuted labels within which every statistic is at chance
_STRIDE = 0.03  # longest step, root mean square over users and dimensions in standard deviations


class Alignment(NamedTuple):
    """Where users have come to.

    Attributes:
        embeddings: ``[n, d]``.
        before: the largest absolute statistic of :class:`ClassDiscrepancy` where they were.
        after: and where they are.
        steps: steps taken.
    """

    embeddings: Tensor
    before: float
    after: float
    steps: int


def align(embeddings: Tensor, discrepancy: ClassDiscrepancy, max_steps: int = 100) -> Alignment:
    r"""Moves users until no class can be told from a random group of its size, and no further.

    Gradient descent on :math:`f = \sum_{s,k} z_{s,k}^2` in units of each dimension's standard deviation, with
    Polyak's step :math:`f / \lVert \nabla f \rVert^2`, for the least value is known to be zero. Statistics below chance
    are brought back like those above it, and there is no weight to choose: all are in the same unit.

    The path matters, for what a user has moved tells its class as well. Gradient descent moves users only where
    the statistics say, and least among what was tried: L-BFGS comes as far in a third of the time, on paths so much
    longer that an attacker reads them.

    Args:
        embeddings: where users are, ``[n, d]``.
        discrepancy: the statistics, of these users.
        max_steps: steps at most; it ends before where all statistics are within half a standard deviation.
    """
    start, unit = embeddings.detach(), discrepancy.scale
    reach = _STRIDE * (len(start) * start.shape[1]) ** 0.5
    moves, before, after, step = torch.zeros_like(start), 0.0, 0.0, 0
    while True:
        moves.requires_grad_()
        scores = discrepancy(start + moves * unit)
        after = float(scores.detach().abs().max())
        before = before if step else after
        moved = start + moves.detach() * unit
        if step == max_steps or after <= _ENOUGH:
            return Alignment(moved, before, after, step)
        loss = scores.square().sum()
        (slope,) = torch.autograd.grad(loss, moves)
        length = float(slope.norm())
        moves = moves.detach() - min(float(loss.detach()) / length**2, reach / length) * slope
        step += 1
