"""The way that takes classes of users to where random groups of their sizes stand, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, nan
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.discrepancy import ClassDiscrepancy

_ENOUGH = 0.5  # standard deviations of permuted labels within which every statistic is at chance
_WIDTH = 64  # dimensions up to which steps are as many as asked for
_STRIDE = 0.03  # longest step, root mean square over all that moves, in its standard deviations


class Movable(Protocol):
    """What moves users: tensors, the users' vectors as a function of them, and how a gradient goes back."""

    parameters: list[Tensor]

    def embeddings(self) -> Tensor:
        """The vectors ``[n, d]``, differentiable."""

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """Gradients of the parameters that belong to a gradient of :meth:`embeddings`."""

    def scales(self) -> Sequence[Tensor | float]:
        """The unit in which each parameter moves."""


class Alignment(NamedTuple):
    """How a descent went.

    Attributes:
        before: the largest absolute statistic of :class:`ClassDiscrepancy` at the start.
        after: and at the end.
        steps: that were taken.
    """

    before: float
    after: float
    steps: int


@torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def align(target: Movable, discrepancy: ClassDiscrepancy, max_steps: int = 100, judged: bool = True) -> Alignment:
    r"""Moves users until the statistics tell no class from a random group of its size, and no further.

    Gradient descent on :math:`f = \sum_{s,k} z_{s,k}^2` in units of standard deviations, with Polyak's
    step :math:`f / \lVert \nabla f \rVert^2`: the least value is known to be zero. Statistics below chance are
    brought back like those above it, and there is no weight to choose: all are in the same unit.

    The way matters, for what a user has moved tells its class as well. Plain descent moves users only as far as the
    statistics say; on the longer ways of L-BFGS, or of Adam, which moves everybody alike, forests read the difference.

    Args:
        target: what moves, in place.
        discrepancy: the statistics, of these users.
        max_steps: steps at most; it ends before where all statistics are within half a standard deviation.
        judged: whether the statistics are taken once more after the last of them; otherwise ``after`` is not a number.
    """
    units = target.scales()
    reach = _STRIDE * sum(parameter.numel() for parameter in target.parameters) ** 0.5
    before, step = None, 0
    while True:
        if before is not None and step >= max_steps and not judged:
            return Alignment(before, nan, step)
        here = target.embeddings()
        leaf = here.detach().requires_grad_()
        scores = discrepancy(leaf)
        after = float(scores.detach().abs().max())
        before = after if before is None else before
        if step >= max_steps or after <= _ENOUGH:
            return Alignment(before, after, step)
        loss = scores.square().sum()
        slopes = target.pull_back(here, torch.autograd.grad(loss, leaf)[0])
        slopes = [slope * unit for slope, unit in zip(slopes, units, strict=True)]
        square = sum(float(slope.square().sum()) for slope in slopes)
        if not square:
            return Alignment(before, after, step)
        length = min(float(loss.detach()) / square, reach / square**0.5)
        with torch.no_grad():
            for parameter, slope, unit in zip(target.parameters, slopes, units, strict=True):
                parameter.sub_(slope * unit, alpha=length)
        step += 1


def steps_for(width: int, steps: int) -> int:
    """How many steps users of ``width`` dimensions may take: in proportion more for more than 64."""
    return ceil(steps * max(1, width / _WIDTH))


class Vectors:
    """Users' own vectors as what moves; entries that are exactly zero, as silent units of a tower are, stay.

    Moved, they would be the one thing that a forest needs to see.
    """

    def __init__(self, embeddings: Tensor, silent: Tensor | None = None) -> None:
        self.parameters = [embeddings.detach().clone()]
        self._free = self.parameters[0] != 0 if silent is None else ~silent

    def embeddings(self) -> Tensor:
        """See :meth:`Movable.embeddings`."""
        return self.parameters[0]

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`Movable.pull_back`."""
        return [gradient * self._free]

    def scales(self) -> list[Tensor]:
        """See :meth:`Movable.scales`: the standard deviation of each dimension."""
        return [self.parameters[0].std(0)]


def align_vectors(
    embeddings: Tensor,
    discrepancy: ClassDiscrepancy,
    max_steps: int = 100,
    silent: Tensor | None = None,
    judged: bool = True,
) -> tuple[Tensor, Alignment]:
    """Where :func:`align` takes users at ``embeddings [n, d]``, and how; entries that are ``silent``, or zero, stay."""
    vectors = Vectors(embeddings, silent)
    outcome = align(vectors, discrepancy, max_steps, judged)
    return vectors.parameters[0], outcome
