"""Calibrated alignment: statistics with a known value under permuted labels, and two ways to bring users there."""

from recbole_aia.losses.calibrated.alignment import Alignment, Movable, align, align_vectors, steps_for
from recbole_aia.losses.calibrated.discrepancy import EXACT_USERS, FEW_USERS, ClassDiscrepancy, Discrepancy
from recbole_aia.losses.calibrated.estimation import (
    Features,
    Posterior,
    Readout,
    cross_fitted_posterior,
    explained,
    learn_readout,
)
from recbole_aia.losses.calibrated.mapping import UserMap, learn_map
from recbole_aia.losses.calibrated.posterior import MixedDiscrepancy, PosteriorDiscrepancy
from recbole_aia.losses.calibrated.transport import transport

__all__ = [
    "EXACT_USERS",
    "FEW_USERS",
    "Alignment",
    "ClassDiscrepancy",
    "Discrepancy",
    "Features",
    "MixedDiscrepancy",
    "Movable",
    "Posterior",
    "PosteriorDiscrepancy",
    "Readout",
    "UserMap",
    "align",
    "align_vectors",
    "cross_fitted_posterior",
    "explained",
    "learn_map",
    "learn_readout",
    "steps_for",
    "transport",
]
