"""Losses of the defenses: pure tensor functions on embeddings and labels."""

from .barycenter import (
    Barycenter,
    barycenter_weights,
    dual_objective,
    penalized_barycenter,
)
from .coupling import Coupling, CouplingMethod, solve_coupling
from .defensive import defensive_loss

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
