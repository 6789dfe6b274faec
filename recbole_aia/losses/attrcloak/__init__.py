"""AttrCloak: the divergence of Gaussian classes, and its weight against the recommendation loss."""

from recbole_aia.losses.attrcloak.divergence import ClassDivergence, CovarianceMethod
from recbole_aia.losses.attrcloak.gaussian import gaussian_kl, ledoit_wolf_shrinkage
from recbole_aia.losses.attrcloak.weighting import gradient_length, min_norm_weight

__all__ = [
    "ClassDivergence",
    "CovarianceMethod",
    "gaussian_kl",
    "gradient_length",
    "ledoit_wolf_shrinkage",
    "min_norm_weight",
]
