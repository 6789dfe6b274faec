"""RAID: a barycenter of the classes, couplings with it, and the loss that pulls users to it."""

from recbole_aia.losses.raid.barycenter import Barycenter, barycenter_weights, dual_objective, penalized_barycenter
from recbole_aia.losses.raid.coupling import Coupling, CouplingMethod, solve_coupling
from recbole_aia.losses.raid.defensive import defensive_loss

__all__ = [
    "Barycenter",
    "Coupling",
    "CouplingMethod",
    "barycenter_weights",
    "defensive_loss",
    "dual_objective",
    "penalized_barycenter",
    "solve_coupling",
]
