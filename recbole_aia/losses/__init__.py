"""Losses of the defenses: pure tensor functions on embeddings and labels."""

from recbole_aia.losses.attrcloak import (
    ClassDivergence,
    CovarianceMethod,
    gaussian_kl,
    gradient_length,
    ledoit_wolf_shrinkage,
    min_norm_weight,
)
from recbole_aia.losses.calibrated import (
    EXACT_USERS,
    FEW_USERS,
    Alignment,
    ClassDiscrepancy,
    Discrepancy,
    Movable,
    PosteriorDiscrepancy,
    align,
    align_vectors,
    steps_for,
    transport,
)
from recbole_aia.losses.mechanisms import analytic_gaussian_scale, clip_rows, laplace_scale
from recbole_aia.losses.pairs import distribution_to_distribution, rank_margin, user_to_user
from recbole_aia.losses.raid import (
    Barycenter,
    Coupling,
    CouplingMethod,
    barycenter_weights,
    defensive_loss,
    dual_objective,
    penalized_barycenter,
    solve_coupling,
)

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
    "Discrepancy",
    "Movable",
    "PosteriorDiscrepancy",
    "align",
    "align_vectors",
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
