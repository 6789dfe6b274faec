"""Support vector machines with an RBF kernel, many at once, where torch computes."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.blocks import in_blocks
from recbole_aia.replay import Replayed

_TOLERANCE = 1e-3  # a machine is done where no two users violate optimality by more; libsvm's
_FLAT = 1e-12  # the least curvature along two users; libsvm's
_FULL = 1e-12  # a weight is at its bound where less than this share of its range is left
_ROUND, _ROUNDS = 64, 100_000  # pairs of weights that move between two looks at the machines, and most looks


@dataclass(frozen=True, eq=False)
class MachinesTask:
    """The machines of a classifier: one for each pair of classes.

    Attributes:
        points: what it learns from, ``[n, d]``.
        classes: in ``0..K-1``, ``[n]``.
        prices: of a user of each class on the wrong side of the margin, ``[K]``.
        device: where torch computes.
    """

    points: FloatArray
    classes: IntArray
    prices: FloatArray
    device: str

    @property
    def kind(self) -> Hashable:
        """See :class:`~recbole_aia.evaluator.attackers.together.Task`."""
        return self.device, self.points.shape[1]

    def pairs(self) -> list[_Pair]:
        """The machines' problems, pair by pair of classes, the lower class first."""
        gamma = 1 / (self.points.shape[1] * (float(self.points.var()) or 1.0))
        found = []
        for low, high in itertools.combinations(range(len(self.prices)), 2):
            rows = np.flatnonzero((self.classes == low) | (self.classes == high))
            signs = np.where(self.classes[rows] == high, 1.0, -1.0)
            found.append(_Pair(self.points[rows], signs, self.prices[self.classes[rows]], gamma))
        return found


class _Pair(NamedTuple):
    """A problem of two classes: users ``[n, d]``, 1 or -1, prices ``[n]``, and the kernel's exponent."""

    points: FloatArray
    signs: FloatArray
    prices: FloatArray
    gamma: float


class _Machine(NamedTuple):
    r"""A machine after its training: :math:`f(x) = \sum_i u_i \exp(-\gamma \lVert x - x_i \rVert^2) + b`."""

    support: Tensor
    weights: Tensor
    bias: Tensor
    gamma: float

    def __call__(self, points: Tensor) -> Tensor:
        """The margins of ``points [m, d]``: ``[m]``, above 0 for the higher class."""
        return kernel(points, self.support, self.gamma) @ self.weights + self.bias


class Machines:
    """The machines of a classifier after their training.

    Args:
        pairs: one for each pair of classes, pair by pair, the lower class first.
        classes: K.
    """

    def __init__(self, pairs: Sequence[_Machine], classes: int) -> None:
        self._pairs, self._classes = pairs, classes

    def margins(self, points: FloatArray) -> FloatArray:
        """Of two classes ``[m]``, above 0 for the higher one; of more ``[m, K]``, votes whose ties confidence breaks.

        These are what ``decision_function`` of scikit-learn's ``SVC`` gives.
        """
        users = torch.as_tensor(points, dtype=torch.float64, device=self._pairs[0].bias.device)
        found: FloatArray = torch.stack([machine(users) for machine in self._pairs], dim=1).cpu().numpy()
        if self._classes == 2:
            return found[:, 0]
        votes, sums = np.zeros((2, len(points), self._classes))
        for margin, (low, high) in zip(found.T, itertools.combinations(range(self._classes), 2), strict=True):
            votes[:, high] += margin > 0
            votes[:, low] += margin <= 0
            sums[:, high] += margin
            sums[:, low] -= margin
        together: FloatArray = votes + sums / (3 * (np.abs(sums) + 1))
        return together


def kernel(left: Tensor, right: Tensor, gamma: float) -> Tensor:
    """The RBF kernel between ``left [m, d]`` and ``right [n, d]``: ``[m, n]``."""
    squares = left.square().sum(1, keepdim=True) + right.square().sum(1) - 2 * left @ right.t()
    return squares.clamp_min_(0).mul_(-gamma).exp_()


def solve_machines(tasks: Sequence[MachinesTask]) -> list[Machines]:
    """The machines of each task. All move side by side, as many at a time as the device has room for."""
    pairs = [task.pairs() for task in tasks]
    everything = [pair for own in pairs for pair in own]
    sizes = [4 * len(pair.signs) ** 2 for pair in everything]
    device = torch.device(tasks[0].device)
    machines = iter(in_blocks(everything, sizes, lambda block: _solved(block, device), tasks[0].device))
    return [
        Machines(list(itertools.islice(machines, len(own))), len(task.prices))
        for own, task in zip(pairs, tasks, strict=True)
    ]


@torch.no_grad()
def _solved(pairs: Sequence[_Pair], device: torch.device) -> list[_Machine]:
    points = [torch.as_tensor(pair.points, dtype=torch.float64, device=device) for pair in pairs]
    ascent = _Ascent(pairs, points)
    go = Replayed(ascent.go, ascent.weights, _ROUNDS)
    for _ in range(_ROUNDS):
        go()
        if float(ascent.gap.max()) < _TOLERANCE:
            break
    machines = []
    for pair, users, weights, bias in zip(pairs, points, ascent.weights, ascent.biases(), strict=True):
        used = weights[: len(users)].nonzero().squeeze(1)
        machines.append(_Machine(users[used], weights[used], bias, pair.gamma))
    return machines


class _Ascent:
    r"""The dual problems of B machines, of which each step moves two weights of each machine.

    .. math:: \max_u \; y^\top u - \tfrac12 u^\top K u, \qquad \textstyle\sum_i u_i = 0, \quad l_i \le u_i \le h_i

    With :math:`f = y - K u`, the first user i has the largest :math:`f_i` among the users whose weight can grow. The
    second one has, among those whose weight can fall, the largest :math:`(f_i - f_j)^2 / (2 - 2 K_{ij})`, which is
    twice what the step gains.

    Args:
        pairs: the problems.
        points: their users, ``[n, d]`` each.

    Attributes:
        weights: u, ``[B, n]``; 0 in places that a machine does not fill.
        gap: by how much two users violate optimality, ``[B]``.

    Source:
        Fan, Chen & Lin (2005), Working set selection using second order information.
    """

    def __init__(self, pairs: Sequence[_Pair], points: Sequence[Tensor]) -> None:
        count, longest, device = len(pairs), max(map(len, points)), points[0].device
        shape = count, longest
        self._kernels = torch.zeros(count, longest, longest, device=device)
        signs, prices = np.zeros(shape), np.zeros(shape)
        for row, (pair, users) in enumerate(zip(pairs, points, strict=True)):
            n = len(users)
            self._kernels[row, :n, :n] = kernel(users, users, pair.gamma)
            signs[row, :n], prices[row, :n] = pair.signs, pair.prices
        self._f = torch.as_tensor(signs, device=device)
        reach, zero = torch.as_tensor(prices, device=device), self._f.new_zeros(())
        self._high, self._low = reach.where(self._f > 0, zero), (-reach).where(self._f < 0, zero)
        # Rounding must not leave a weight just inside its bound, where it would be moved for nothing.
        self._almost_high, self._almost_low = self._high - _FULL * reach, self._low + _FULL * reach
        self.weights, self.gap = torch.zeros_like(self._f), torch.full_like(self._f[:, 0], torch.inf)
        self._rows = torch.arange(count, device=device)

    def go(self) -> None:
        """Takes the steps of a round, and notes the gaps."""
        for _ in range(_ROUND):
            self._step()
        top, bottom = self._ends()
        self.gap.copy_(top - bottom)

    def biases(self) -> Tensor:
        """The biases, ``[B]``: the mean of f over users within their bounds; else the middle of the ends."""
        top, bottom = self._ends()
        free = (self.weights < self._almost_high) & (self.weights > self._almost_low)
        mean = (self._f * free).sum(1) / free.sum(1)
        return mean.where(free.any(1), (top + bottom) / 2)

    def _ends(self) -> tuple[Tensor, Tensor]:
        top = self._f.masked_fill(self.weights >= self._almost_high, -torch.inf).amax(1)
        return top, self._f.masked_fill(self.weights <= self._almost_low, torch.inf).amin(1)

    def _step(self) -> None:
        rows, f, weights = self._rows, self._f, self.weights
        best, first = f.masked_fill(weights >= self._almost_high, -torch.inf).max(1)
        near = self._kernels[rows, first]
        curvature = (2 - 2 * near).clamp_min_(_FLAT)
        gains = (best.unsqueeze(1) - f).clamp_min_(0).square_().div_(curvature)
        second = gains.masked_fill_(weights <= self._almost_low, -1.0).argmax(1)
        both = torch.stack([first, second], dim=1)
        here, (high, low) = weights.gather(1, both), (self._high[rows, first], self._low[rows, second])
        length = (best - f[rows, second]) / curvature[rows, second]
        length = length.minimum(high - here[:, 0]).minimum(here[:, 1] - low).clamp_min_(0).unsqueeze(1)
        weights.scatter_add_(1, both, torch.cat([length, -length], dim=1))
        f.sub_(length * (near - self._kernels[rows, second]))
