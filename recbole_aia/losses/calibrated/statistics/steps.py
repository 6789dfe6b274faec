"""Soft steps along single dimensions: what trees see."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recbole_aia.losses.calibrated.statistics.base import FeatureStatistic, Users

_SLOPE = 4.0  # of a step at its threshold: it rises from 0.12 to 0.88 within one standard deviation


@dataclass(frozen=True)
class Steps(FeatureStatistic):
    r"""Shares of users beyond a threshold along each dimension, in either direction.

    .. math:: K(x, y) = \sum_a s(x_a - t)\, s(y_a - t) + s(-x_a - t)\, s(-y_a - t), \qquad s(u) = 1 / (1 + e^{-4u})

    At t = 0 the second term says what the first does, and is left out. Each threshold is a statistic of its own: in a
    sum of them, users in the middle make up for those in the tails, and trees see the tails.

    Null: 0, with a :meth:`deviation` of :math:`(2 \operatorname{tr} V^2)^{1/2}`, where V is the covariance of the soft
    steps.

    Args:
        threshold: t >= 0, in standard deviations of the dimension.
    """

    threshold: float

    @property
    def name(self) -> str:
        """See :attr:`Statistic.name`."""
        return f"steps {self.threshold:g}"

    def n_maps(self, dimensions: int) -> int:
        """See :meth:`FeatureStatistic.n_maps`."""
        return dimensions * (2 if self.threshold else 1)

    def maps(self, users: Users) -> list[Tensor]:
        """See :meth:`FeatureStatistic.maps`."""
        t, points = self.threshold, users.points
        up = ((points - t) * _SLOPE).sigmoid()
        return [up, ((points + t) * -_SLOPE).sigmoid()] if t else [up]
