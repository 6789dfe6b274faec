"""The weight of a privacy gradient against a utility gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def min_norm_weight(
    privacy: Sequence[Tensor] | Tensor, utility: Sequence[Tensor] | Tensor, lower: float = 0.0
) -> Tensor:
    r"""Weight of the privacy gradient at the min-norm point of two gradients.

    .. math:: \hat\alpha = \operatorname{clip}\Bigl(
        \frac{(g_R - g_{AU})^\top g_R}{\lVert g_{AU} - g_R \rVert^2},\; \text{lower},\; 1\Bigr)

    A small step against :math:`\hat\alpha g_{AU} + (1 - \hat\alpha) g_R` lowers both losses, unless it is zero.

    Args:
        privacy: gradient of the unlearning loss, a tensor of any shape or several.
        utility: gradient of the retention loss, of the same shapes.
        lower: smallest weight allowed, in [0, 1]; 0.1 for data-free unlearning, whose utility gradient is zero at
            the start.

    Returns:
        Scalar in ``[lower, 1]``. Equal gradients give ``lower``.

    Source:
        AttrCloak, eq. 26 (slide "Dual-objective Optimization"); Desideri (2012) for the closed form of two objectives.
    """
    pp, uu, pu = _products(_several(privacy), _several(utility))
    distance = pp + uu - 2 * pu
    weight = torch.where(distance > 0, (uu - pu) / distance, 0)
    return weight.clamp(lower, 1)


def gradient_length(gradient: Sequence[Tensor]) -> Tensor:
    r"""The length of a gradient in several parts, :math:`\bigl(\sum_p \lVert g_p \rVert^2\bigr)^{1/2}`, a scalar."""
    return torch.stack([part.square().sum() for part in gradient]).sum().sqrt()


def _products(privacy: Sequence[Tensor], utility: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Squared norms of both gradients and their inner product, scalars."""
    pairs = [(p.flatten(), u.flatten()) for p, u in zip(privacy, utility, strict=True)]
    return (
        torch.stack([p @ p for p, _ in pairs]).sum(),
        torch.stack([u @ u for _, u in pairs]).sum(),
        torch.stack([p @ u for p, u in pairs]).sum(),
    )


def _several(gradient: Sequence[Tensor] | Tensor) -> Sequence[Tensor]:
    return [gradient] if isinstance(gradient, Tensor) else gradient
