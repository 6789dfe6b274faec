"""The statistics that calibrated alignment brings to chance: a small class each, and a table of which is taken where.

To add one, write a subclass of :class:`Statistic` (or of :class:`FeatureStatistic`, which needs nothing but features)
and name it in :func:`~recbole_aia.losses.calibrated.statistics.table.statistics_in`.
"""

from recbole_aia.losses.calibrated.statistics.base import FeatureStatistic, GroupSums, Membership, Statistic, Users
from recbole_aia.losses.calibrated.statistics.gaussian import Gaussian, RandomGaussian
from recbole_aia.losses.calibrated.statistics.polynomial import Linear, Quadratic, Squares
from recbole_aia.losses.calibrated.statistics.spaces import Space, SpaceKind, read_axes, spaces
from recbole_aia.losses.calibrated.statistics.spread import spread
from recbole_aia.losses.calibrated.statistics.steps import Steps
from recbole_aia.losses.calibrated.statistics.table import Table, statistics_in

__all__ = [
    "FeatureStatistic",
    "Gaussian",
    "GroupSums",
    "Linear",
    "Membership",
    "Quadratic",
    "RandomGaussian",
    "Space",
    "SpaceKind",
    "Squares",
    "Statistic",
    "Steps",
    "Table",
    "Users",
    "read_axes",
    "spaces",
    "spread",
    "statistics_in",
]
