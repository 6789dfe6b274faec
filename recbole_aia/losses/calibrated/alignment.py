"""Gradient descent that takes classes of users to where random groups of their sizes stand, and no further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, nan
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_aia.ranks import ranks
from recbole_aia.replay import Replayed

_CHANCE = 0.5  # users are at chance where no statistic is further from 0, in its deviations under permuted labels
_WIDTH = 64  # up to this many dimensions the steps asked for are enough; beyond, they grow in proportion
_STRIDE = 0.03  # longest step: its root mean square over all numbers that move, in their standard deviations
_LOOK = 10  # steps on a GPU after which it is asked whether users are at chance; steps from there on move nobody


class Movable(Protocol):
    """What a descent can move: parameters, and the users' vectors as a function of them."""

    parameters: list[Tensor]
    """What is changed, in place."""

    def embeddings(self) -> Tensor:
        """The users' vectors as they are now, ``[n, d]``, differentiable in the parameters."""

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """The gradient of each parameter, given ``gradient [n, d]`` of the vectors that :meth:`embeddings` gave."""

    def scales(self) -> Sequence[Tensor | float]:
        """The unit in which each parameter moves: a number, or one for each of its columns."""


class Alignment(NamedTuple):
    """How a descent went.

    Attributes:
        before: the largest absolute statistic at the start.
        after: the same at the end; not a number where it was not asked for.
        steps: how many were taken.
    """

    before: float
    after: float
    steps: int


@torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def align(
    target: Movable,
    discrepancy: Callable[[Tensor], Tensor],
    max_steps: int = 100,
    judged: bool = True,
    *,
    replayed: bool = False,
) -> Alignment:
    r"""Moves users, in place, until the statistics tell no class from a random group of its size.

    .. math:: f = \sum_{s,k} z_{s,k}^2, \qquad
        \theta \leftarrow \theta - \min\Bigl(\frac{f}{\lVert \nabla f \rVert}, 0.03 \sqrt{p}\Bigr)
        \frac{\nabla f}{\lVert \nabla f \rVert}

    for p parameters :math:`\theta` in their units. This is Polyak's step, since the least value of f is known to be
    zero, with a longest step. Statistics below chance are brought back like those above it. All are in the same unit,
    so none needs a weight.

    Plain descent moves users only as far as the statistics say. L-BFGS and Adam move them further, and forests then
    read the class from the way that a user has moved.

    Args:
        target: what moves.
        discrepancy: the statistics of these users, such as a :class:`ClassDiscrepancy`.
        max_steps: how many steps are taken at most. The descent ends earlier where all statistics are within half a
            standard deviation.
        judged: whether to compute the statistics once more after the last step, which ``after`` needs.
        replayed: whether CUDA may record a step and replay it (:class:`.Replayed`). The target then has to do the same
            at every step, without the host.

    Returns:
        How the descent went.

    Source:
        Ours; Polyak (1969) for the step.
    """
    descent, like = _Descent(target, discrepancy), target.parameters[0]
    step = Replayed(descent.step, like, max_steps if replayed and ranks().count == 1 else 0)
    before, look = nan, _LOOK if like.is_cuda else 1
    for number in range(max_steps):
        step()
        if not number:
            before = float(descent.largest)
        if (number + 1) % look == 0 and not descent.going:
            break
    after = nan if descent.going else float(descent.largest)
    if descent.going and (judged or not max_steps):
        after = descent.judged()
    return Alignment(before if max_steps else after, after, int(descent.taken))


class _Descent:
    """The state of a descent, on the device where users are: :meth:`step` asks the host for nothing.

    Attributes:
        going: whether users still move, a scalar.
        largest: the largest absolute statistic where users were at the start of the last step, a scalar.
        taken: how many steps moved users, a scalar.
    """

    def __init__(self, target: Movable, discrepancy: Callable[[Tensor], Tensor]) -> None:
        self._target, self._discrepancy, self._units = target, discrepancy, target.scales()
        self._reach = _STRIDE * sum(parameter.numel() for parameter in target.parameters) ** 0.5
        device = target.parameters[0].device
        self.going = torch.ones((), dtype=torch.bool, device=device)
        self.largest = torch.full((), nan, dtype=torch.float64, device=device)
        self.taken = torch.zeros((), dtype=torch.long, device=device)

    def step(self) -> None:
        """Moves users by one step, unless they are at chance, or were at an earlier step."""
        target = self._target
        here = target.embeddings()
        leaf = here.detach().requires_grad_()
        # RecBole leaves torch's anomaly detection on, which looks at the numbers of every operation.
        with torch.autograd.set_detect_anomaly(False):
            scores = self._discrepancy(leaf)
            loss = scores.square().sum()
            slopes = target.pull_back(here, torch.autograd.grad(loss, leaf)[0])
        self.largest.copy_(scores.detach().abs().max())
        slopes = [slope * unit for slope, unit in zip(slopes, self._units, strict=True)]
        square = torch.stack([slope.square().sum().double() for slope in slopes]).sum()
        self.going &= ~(self.largest <= _CHANCE) & (square != 0)
        length = torch.minimum(loss.detach() / square, self._reach / square.sqrt())
        with torch.no_grad():
            for parameter, slope, unit in zip(target.parameters, slopes, self._units, strict=True):
                parameter.sub_((slope * unit * length.to(slope.dtype)).where(self.going, 0.0))
        self.taken += self.going

    @torch.no_grad()
    def judged(self) -> float:
        """The largest absolute statistic where users are now."""
        return float(self._discrepancy(self._target.embeddings()).abs().max())


def steps_for(width: int, steps: int) -> int:
    r"""How many steps users of ``width`` dimensions may take: :math:`\lceil s \max(1, d / 64) \rceil` for s steps.

    Users of more dimensions need more steps to come as close to chance.
    """
    return ceil(steps * max(1, width / _WIDTH))


class Vectors:
    """Users' own vectors as what moves, but for silent entries.

    A tower's unit that is silent for a user gives exactly zero. A descent that moved such zeros would move them by the
    user's class, which a forest reads from them alone.

    Args:
        embeddings: the vectors, ``[n, d]``; they are copied.
        silent: which entries stay, ``[n, d]``; those that are exactly zero where ``None``.
    """

    def __init__(self, embeddings: Tensor, silent: Tensor | None = None) -> None:
        self.parameters = [embeddings.detach().clone()]
        self._free = self.parameters[0] != 0 if silent is None else ~silent

    def embeddings(self) -> Tensor:
        """See :meth:`Movable.embeddings`: the vectors themselves."""
        return self.parameters[0]

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`Movable.pull_back`: the gradient itself, zero where entries stay."""
        return [gradient * self._free]

    def scales(self) -> list[Tensor]:
        """See :meth:`Movable.scales`: the standard deviation of each dimension."""
        return [self.parameters[0].std(0)]


def align_vectors(
    embeddings: Tensor,
    discrepancy: Callable[[Tensor], Tensor],
    max_steps: int = 100,
    silent: Tensor | None = None,
    judged: bool = True,
) -> tuple[Tensor, Alignment]:
    """Vectors in, vectors out: where :func:`align` takes users, whose own vectors are what moves.

    Args:
        embeddings: where users are, ``[n, d]``; they are left as they are.
        discrepancy: the statistics of these users, such as a :class:`ClassDiscrepancy`.
        max_steps: see :func:`align`.
        silent: entries that stay, ``[n, d]``; those that are exactly zero where ``None``.
        judged: see :func:`align`.

    Returns:
        Where users end, ``[n, d]``, and how the descent went.
    """
    vectors = Vectors(embeddings, silent)
    outcome = align(vectors, discrepancy, max_steps, judged, replayed=True)
    return vectors.parameters[0], outcome
