"""What a statistic is, and what the statistics of one space share."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.statistics.gaussian_sums import gaussian_sums
from recbole_aia.losses.calibrated.statistics.spaces import Space
from recbole_aia.losses.calibrated.statistics.spread import spread

#: Bandwidths b of Gaussian kernels, in units of half the mean squared distance of two users. Each is half the one
#: before, so that each kernel is the square of the one before.
BANDWIDTHS = (2.0, 1.0, 0.5, 0.25, 0.125)


class Users:
    """Users in a space, and what several statistics take from them: computed when first asked for, and once.

    Args:
        space: where they are compared.
        standardized: the users, ``[n, d]``.
    """

    def __init__(self, space: Space, standardized: Tensor) -> None:
        self.space, self._standardized = space, standardized
        self._latest: tuple[float, Tensor] | None = None

    @functools.cached_property
    def points(self) -> Tensor:
        """Their coordinates in the space, ``[n, k]``."""
        return self._standardized.to(self.space.basis) @ self.space.basis

    @functools.cached_property
    def squares(self) -> Tensor:
        """The square of each coordinate, ``[n, k]``."""
        return self.points.square()

    @functools.cached_property
    def products(self) -> Tensor:
        """Inner products of all pairs of users, ``[n, n]``, in double precision."""
        points = self.points.double()
        return points @ points.t()

    @functools.cached_property
    def phases(self) -> Tensor:
        """The arguments of random Fourier features at bandwidth 1, ``[n, F]``."""
        return self.points @ self.space.frequencies

    def gaussian(self, bandwidth: float) -> Tensor:
        r""":math:`\exp(-|x - y|^2 / 2bk)` of all pairs of users, ``[n, n]``, for a b of :data:`BANDWIDTHS`."""
        # Only the latest is kept: statistics ask for one bandwidth after the other, and a kernel is large.
        if self._latest is None or self._latest[0] != bandwidth:
            kernel = self._widest() if bandwidth == BANDWIDTHS[0] else self.gaussian(2 * bandwidth).square()
            self._latest = bandwidth, kernel
        return self._latest[1]

    def _widest(self) -> Tensor:
        norms = self.points.square().sum(1)
        distances = (norms + norms.unsqueeze(1) - 2 * self.points @ self.points.t()).clamp_min(0)
        return torch.exp(-distances / _doubled_variance(self.space))


def _doubled_variance(space: Space) -> float:
    """``2 b k`` of the widest Gaussian kernel."""
    return 2 * BANDWIDTHS[0] * space.width


class Membership(Protocol):
    """Who is in which of G groups.

    Memberships are 0 or 1. Shares of users in groups would weigh a user's pair with itself by their squares.
    """

    counts: Tensor
    """How many users are in each group, ``[G]``."""

    @property
    def all_members(self) -> Tensor:
        """Who is in each group, ``[G, n]``, of all users; asked for only where pairs of users are compared."""


class GroupSums:
    """Sums over the users of each of G groups, in a space.

    Args:
        users: all of them, in the space.
        membership: who is in which group.
        moments: sums of standardized users ``[G, d]``, and of their outer products ``[G, d, d]``, over each group, in
            double precision.
        needs_second: whether a statistic reads :attr:`second`.

    Attributes:
        second: sums of outer products in the space, ``[G, k, k]``; only where ``needs_second``.
    """

    second: Tensor

    def __init__(
        self, users: Users, membership: Membership, moments: tuple[Tensor, Tensor], needs_second: bool = True
    ) -> None:
        self._firsts, self._seconds = firsts, seconds = moments
        self._users, self._membership, self._basis = users, membership, users.space.basis.to(firsts)
        if needs_second:
            # Ahead of all statistics: a gradient's last digits depend on the order in which its parts are added, and
            # the order of the table must not decide it.
            self.second = self._basis.t() @ seconds @ self._basis

    @property
    def counts(self) -> Tensor:
        """How many users are in each group, ``[G]``."""
        return self._membership.counts

    @functools.cached_property
    def first(self) -> Tensor:
        """Sums of users in the space, ``[G, k]``."""
        return self._firsts @ self._basis

    @functools.cached_property
    def lengths(self) -> Tensor:
        """Sums of users' squared lengths in the space, ``[G]``."""
        return (self._seconds * (self._basis @ self._basis.t())).sum((1, 2))

    @functools.cached_property
    def gaussians(self) -> dict[float, Tensor]:
        """Sums of the Gaussian kernel of each bandwidth over pairs of users of two groups, ``[G, G]`` each."""
        widest = _doubled_variance(self._users.space)
        sums = gaussian_sums(self._users.points, self._membership.all_members, len(BANDWIDTHS), widest)
        return dict(zip(BANDWIDTHS, sums.unbind(), strict=True))


class Statistic(ABC):
    r"""How far a class stands from its rest, as a kernel K between users sees it.

    A subclass is a kernel. Its docstring says what K is, which difference of classes it sees, and its null: the value
    under permuted labels and the standard deviation there. The unbiased estimate of the squared mean discrepancy
    (:class:`~recbole_aia.losses.calibrated.comparisons.Apart`) makes the null value 0 for every kernel. The standard
    deviation is :meth:`deviation` times a factor of the classes' sizes.

    A kernel enters by its sums over pairs of users of two groups. They may come from the moments of groups, from sums
    of features over their users, or from all pairs of users.

    Source:
        Gretton et al. (2012), eq. 3.
    """

    #: Whether :meth:`sums` reads ``GroupSums.second``.
    needs_second: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """The kernel's name, which follows that of the space."""

    @abstractmethod
    def gram(self, users: Users) -> Tensor:
        """K of all pairs of users, ``[n, n]``, in double precision."""

    @abstractmethod
    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of K over pairs of users of two groups ``[G, G]``, and over the users of each and themselves ``[G]``.

        Args:
            groups: sums that statistics share.
            features: sums of :meth:`features` over the users of each group, ``[G, width]``, in double precision.
        """

    def width(self, dimensions: int) -> int:
        """How many numbers :meth:`features` gives in a space of that many dimensions."""
        return 0

    def features(self, users: Users, members: Tensor) -> list[Tensor]:
        """What this statistic adds up over the users of each group ``[G, n]``: parts of ``[G, width]``."""
        return []

    def deviation(self, users: Users) -> Tensor:
        r"""The standard deviation of K between two users, a scalar: :math:`(2 \operatorname{mean} \tilde K^2)^{1/2}`.

        Times a factor of a class's size and its rest's, it is that of the statistic under permuted labels.
        """
        return spread(self.gram(users))


class FeatureStatistic(Statistic):
    r"""A statistic whose kernel is a product of features: :math:`K(x, y) = \phi(x)^\top \phi(y)`."""

    @abstractmethod
    def maps(self, users: Users) -> list[Tensor]:
        r""":math:`\phi` of each user, in parts ``[n, D]``."""

    @abstractmethod
    def n_maps(self, dimensions: int) -> int:
        """How many features there are in a space of that many dimensions."""

    def selves(self, maps: list[Tensor], members: Tensor) -> Tensor:
        """Sums of K of a user and itself over groups ``[G, n]``: ``[G]``."""
        return torch.stack([(members @ part.square()).sum(1) for part in maps]).sum(0)

    def width(self, dimensions: int) -> int:
        """See :meth:`Statistic.width`: the features, and K of a user and itself."""
        return self.n_maps(dimensions) + 1

    def features(self, users: Users, members: Tensor) -> list[Tensor]:
        """See :meth:`Statistic.features`."""
        maps = self.maps(users)
        selves = self.selves(maps, members)
        return [*(members @ part for part in maps), selves.unsqueeze(1)]

    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Statistic.sums`."""
        return inner(features[:, :-1]), features[:, -1]

    def gram(self, users: Users) -> Tensor:
        """See :meth:`Statistic.gram`."""
        return inner(torch.cat(self.maps(users), dim=1).double())


def inner(vectors: Tensor) -> Tensor:
    """Inner products of all pairs of ``vectors [n, D]``, ``[n, n]``."""
    return vectors @ vectors.t()
