"""Losses of the defenses: pure tensor functions on embeddings and labels."""

from .alignment import Alignment, Movable, align, aligned, steps_for
from .attribute_unlearning import distribution_to_distribution, rank_margin, user_to_user
from .barycenter import (
    Barycenter,
    barycenter_weights,
    dual_objective,
    penalized_barycenter,
)
from .coupling import Coupling, CouplingMethod, solve_coupling
from .defensive import defensive_loss
from .discrepancy import EXACT_USERS, FEW_USERS, ClassDiscrepancy
from .gaussian import ClassDivergence, CovarianceMethod, gaussian_kl, ledoit_wolf_shrinkage
from .mechanisms import analytic_gaussian_scale, clip_rows, laplace_scale
from .transport import transport
from .weighting import gradient_length, min_norm_weight

__all__ = [
    "EXACT_USERS",
    "FEW_USERS",
    "Alignment",
    "Barycenter",
    "ClassDiscrepancy",
    "ClassDivergence",
    "Coupling",
    "CouplingMethod",
    "CovarianceMethod",
    "Movable",
    "align",
    "aligned",
    "analytic_gaussian_scale",
    "barycenter_weights",
    "clip_rows",
    "defensive_loss",
    "distribution_to_distribution",
    "dual_objective",
    "gaussian_kl",
    "gradient_length",
    "laplace_scale",
    "ledoit_wolf_shrinkage",
    "min_norm_weight",
    "penalized_barycenter",
    "rank_margin",
    "solve_coupling",
    "steps_for",
    "transport",
    "user_to_user",
]
