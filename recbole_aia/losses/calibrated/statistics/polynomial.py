"""Statistics of first and second moments, from the moments of groups."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recbole_aia.losses.calibrated.statistics.base import GroupSums, Statistic, Users, inner


@dataclass(frozen=True)
class Linear(Statistic):
    r"""Means: :math:`K(x, y) = x^\top y`.

    The discrepancy is the squared distance of the means of a class and its rest.

    Null: 0, with a :meth:`deviation` of :math:`(2 \operatorname{tr} \Sigma^2)^{1/2}` for users of covariance
    :math:`\Sigma`; :math:`\sqrt{2k}` on k white axes.
    """

    name = "linear"

    def gram(self, users: Users) -> Tensor:
        """See :meth:`Statistic.gram`."""
        return users.products

    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Statistic.sums`."""
        return inner(groups.first), groups.lengths


@dataclass(frozen=True)
class Quadratic(Statistic):
    r"""Second moments: :math:`K(x, y) = (x^\top y)^2`.

    The discrepancy is the squared Frobenius distance of the second moments: it sees covariances that differ.

    Null: 0, with a :meth:`deviation` of :math:`(2 \operatorname{tr} V^2)^{1/2}`, where V is the covariance of
    :math:`x x^\top`; :math:`2 \sqrt{k (k + 1)}` for normal users on k white axes.
    """

    name = "quadratic"
    needs_second = True

    def width(self, dimensions: int) -> int:
        """See :meth:`Statistic.width`: the fourth power of the length."""
        return 1

    def features(self, users: Users, members: Tensor) -> list[Tensor]:
        """See :meth:`Statistic.features`."""
        return [members @ users.squares.sum(1, keepdim=True).square()]

    def gram(self, users: Users) -> Tensor:
        """See :meth:`Statistic.gram`."""
        return users.products.square()

    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Statistic.sums`."""
        return inner(groups.second.flatten(1)), features[:, 0]


@dataclass(frozen=True)
class Squares(Statistic):
    r"""Second moments of single axes: :math:`K(x, y) = \sum_a x_a^2 y_a^2`.

    It sees one axis along which classes spread differently, which :class:`Quadratic` loses among all pairs of axes.

    Null: 0, with a :meth:`deviation` of :math:`(2 \operatorname{tr} V^2)^{1/2}`, where V is the covariance of the
    squares; :math:`\sqrt{8k}` for normal users on k white axes.
    """

    name = "squares"
    needs_second = True

    def width(self, dimensions: int) -> int:
        """See :meth:`Statistic.width`: the sum of fourth powers."""
        return 1

    def features(self, users: Users, members: Tensor) -> list[Tensor]:
        """See :meth:`Statistic.features`."""
        return [members @ users.squares.square().sum(1, keepdim=True)]

    def gram(self, users: Users) -> Tensor:
        """See :meth:`Statistic.gram`."""
        return inner(users.points.double().square())

    def sums(self, groups: GroupSums, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Statistic.sums`."""
        return inner(groups.second.diagonal(dim1=1, dim2=2)), features[:, 0]
