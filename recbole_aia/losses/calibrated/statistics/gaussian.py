"""Gaussian statistics, which see every difference of distributions: between all pairs of users, or by features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recbole_aia.losses.calibrated.statistics.base import FeatureStatistic, GroupSums, Statistic, Users
from recbole_aia.losses.calibrated.statistics.spaces import N_FREQUENCIES


@dataclass(frozen=True)
class Gaussian(Statistic):
    r"""Whole distributions, at one resolution: :math:`K(x, y) = \exp(-\lVert x - y \rVert^2 / 2bk)` in k dimensions.

    On white axes k is half the mean squared distance of two users. A large b sees where classes stand on the whole, a
    small one what forests see. Kernels are computed between all pairs of users, in ``O(n^2 k)`` for all bandwidths.

    Null: 0, with a :meth:`deviation` of :math:`\bigl(2 (c_4 - 2 c_{13} + c_2^2)\bigr)^{1/2}` for normal users on k
    white axes, where :math:`s = bk`, :math:`c_2 = (1 + 2/s)^{-k/2}`, :math:`c_4 = (1 + 4/s)^{-k/2}` and
    :math:`c_{13} = ((1 + 1/s)(1 + 3/s))^{-k/2}`.

    Args:
        bandwidth: b, one of :data:`~recbole_aia.losses.calibrated.statistics.base.BANDWIDTHS`.
    """

    bandwidth: float

    @property
    def name(self) -> str:
        """See :attr:`Statistic.name`."""
        return f"Gaussian {self.bandwidth:g}"

    def gram(self, users: Users) -> Tensor:
        """See :meth:`Statistic.gram`."""
        return users.gaussian(self.bandwidth).double()

    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Statistic.sums`; K of a user and itself is 1."""
        return groups.gaussians[self.bandwidth], groups.counts


@dataclass(frozen=True)
class RandomGaussian(FeatureStatistic):
    r"""An estimate of :class:`Gaussian` in ``O(n k F)``, for many users: F times that kernel in expectation.

    .. math:: K(x, y) = \sum_{f=1}^F \cos\bigl(\omega_f^\top (x - y)\bigr), \qquad
        \omega_f \sim \mathcal N(0, I / bk)

    Too coarse for bandwidths below a half: F features cannot tell neighbours apart from everybody else.

    Null: 0, with a :meth:`deviation` of about F times that of :class:`Gaussian`, or more where F is few.

    Args:
        bandwidth: b, > 0.

    Source:
        Rahimi and Recht (2007).
    """

    bandwidth: float

    @property
    def name(self) -> str:
        """See :attr:`Statistic.name`."""
        return f"Gaussian {self.bandwidth:g}"

    def n_maps(self, dimensions: int) -> int:
        """See :meth:`FeatureStatistic.n_maps`: a cosine and a sine for each frequency."""
        return 2 * N_FREQUENCIES

    def maps(self, users: Users) -> list[Tensor]:
        """See :meth:`FeatureStatistic.maps`."""
        unit = self.bandwidth**0.5
        return [(users.phases / unit).cos(), (users.phases / unit).sin()]

    def selves(self, maps: list[Tensor], members: Tensor) -> Tensor:
        """See :meth:`FeatureStatistic.selves`: the squares of a cosine and a sine add up to 1."""
        return N_FREQUENCIES * members.sum(1)
