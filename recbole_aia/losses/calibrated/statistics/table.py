"""The table: which statistics are taken in which space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.statistics.base import BANDWIDTHS, GroupSums, Membership, Statistic, Users
from recbole_aia.losses.calibrated.statistics.gaussian import Gaussian, RandomGaussian
from recbole_aia.losses.calibrated.statistics.polynomial import Linear, Quadratic, Squares
from recbole_aia.losses.calibrated.statistics.spaces import Space, SpaceKind
from recbole_aia.losses.calibrated.statistics.steps import Steps

_MOMENTS = (Linear(), Quadratic(), Squares())
_EXACT = tuple(Gaussian(b) for b in BANDWIDTHS)
_RANDOM = tuple(RandomGaussian(b) for b in (2.0, 1.0, 0.5))
_FINE = tuple(RandomGaussian(b) for b in (2.0, 1.0, 0.5, 0.25, 0.125))  # few axes: features are close to the kernel
_STEPS = tuple(Steps(t) for t in (0.0, 0.8, 1.6, 2.4))  # the middle, and towards the tails


def statistics_in(kind: SpaceKind, exact: bool) -> tuple[Statistic, ...]:
    """The statistics that are taken in a space; one more is one more entry here.

    Args:
        kind: of the space.
        exact: whether Gaussian kernels are computed between all pairs of users, or by random features.
    """
    gaussians: tuple[Statistic, ...] = _EXACT if exact else _RANDOM
    table: dict[SpaceKind, tuple[Statistic, ...]] = {
        "standardized": (*_MOMENTS, *gaussians, *_STEPS),
        "white": (*_MOMENTS, *gaussians),
        "long axes": (*_MOMENTS, *gaussians),
        "band": _MOMENTS,
        "raw": _MOMENTS,
        "ridge": (Linear(),),
        "read axes": (*_MOMENTS, *_FINE, *_STEPS),
    }
    return table[kind]


class Table:
    """All S statistics of some users, space by space.

    Args:
        spaces: where users are compared.
        exact: see :func:`statistics_in`.

    Attributes:
        names: of the statistics, in their order: that of the space, and that of the kernel.
    """

    def __init__(self, spaces: Sequence[Space], exact: bool) -> None:
        self._rows = [(space, statistics_in(space.kind, exact)) for space in spaces]
        self.names = [f"{space.name} {statistic.name}" for space, row in self._rows for statistic in row]
        self._widths = [statistic.width(space.width) for space, row in self._rows for statistic in row]

    def features(self, users: Tensor, members: Tensor) -> Tensor:
        """What statistics add up over the users of each group, side by side: ``[G, W]`` in double precision.

        Args:
            users: standardized, ``[n, d]``.
            members: who is in each group, 0 or 1, ``[G, n]``.
        """
        sums = list[Tensor]()
        for space, row in self._rows:
            here = Users(space, users)
            sums += [part for statistic in row for part in statistic.features(here, members)]
        return torch.cat(sums, dim=1).double()

    def sums(
        self, users: Tensor, membership: Membership, moments: tuple[Tensor, Tensor], features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums of every kernel over pairs of users of two groups ``[S, G, G]``, and of users and themselves ``[S, G]``.

        Args:
            users: all of them, standardized, ``[n, d]``.
            membership: who is in which of G groups.
            moments: sums of users ``[G, d]`` and of their outer products ``[G, d, d]`` over each group.
            features: of :meth:`features`, ``[G, W]``.
        """
        parts, found = iter(features.split(self._widths, dim=1)), list[tuple[Tensor, Tensor]]()
        for space, row in self._rows:
            needs_second = any(statistic.needs_second for statistic in row)
            groups = GroupSums(Users(space, users), membership, moments, needs_second)
            found += [statistic.sums(groups, next(parts)) for statistic in row]
        products, traces = (torch.stack(each) for each in zip(*found, strict=True))
        return products, traces

    def deviations(self, users: Tensor) -> Tensor:
        """The standard deviation of each kernel between two of ``users [n, d]``, ``[S]``; see :meth:`.deviation`."""
        found = list[Tensor]()
        for space, row in self._rows:
            here = Users(space, users)
            found += [statistic.deviation(here) for statistic in row]
        return torch.stack(found)
