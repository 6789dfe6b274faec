"""Least-squares concept erasure (LEACE): the smallest linear change that leaves classes the same mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_EMPTY = 1e-10  # axes with less than this share of the largest variance hold no user and are left alone


class AffineErasure(NamedTuple):
    """The map :math:`x' = x - (x - c) E` of rows; it needs no label.

    Attributes:
        center: c, ``[d]``.
        erased: E, ``[d, d]``.
        rank: number of directions that E takes out.
    """

    center: Tensor
    erased: Tensor
    rank: int

    def __call__(self, embeddings: Tensor) -> Tensor:
        """The mapped rows, ``[n, d]``, in their own precision."""
        moved = embeddings.to(self.erased.dtype)
        return (moved - (moved - self.center) @ self.erased).to(embeddings.dtype)


def least_squares_erasure(embeddings: Tensor, labels: Tensor, covariances: int = 0) -> AffineErasure:
    r"""The affine map that makes all class means equal and moves users least, in the mean square.

    .. math:: x' = x - W^+ P W (x - \mu), \qquad W = \Sigma^{-1/2}

    :math:`P` projects on the span of :math:`W (\mu_k - \mu_a)`, for the classes k of every attribute a, where
    :math:`\mu_a` is the mean of the users with a label of a. Afterwards no linear function of the users whose labels
    were used predicts a class better than a constant does.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n, A]``, integers; negative for users without a label, who count in :math:`\mu` and
            :math:`\Sigma` alone.
        covariances: number of directions that are projected out besides: those along which the covariances of classes
            differ most, the leading eigenvectors of :math:`\sum_k \frac{N_k}{N} (W \Sigma_k W - W \Sigma_a W)^2`. A
            method without them is LEACE.

    Raises:
        ValueError: shapes disagree, or an attribute has fewer than two classes.

    Source:
        Belrose et al. (2023), theorem 4.3. The directions of covariances are ours.
    """
    rows = embeddings.double()
    center = rows.mean(0)
    values, axes = torch.linalg.eigh((rows - center).t() @ (rows - center) / len(rows))
    full = values > _EMPTY * values[-1].clamp_min(torch.finfo(values.dtype).tiny)
    axes, lengths = axes[:, full], values[full].sqrt()
    white = (rows - center) @ axes / lengths
    means, spreads = [], white.new_zeros(white.shape[1], white.shape[1])
    for column in _columns(embeddings, labels):
        known = white[column >= 0]
        about = known - known.mean(0)
        overall = about.t() @ about / len(about)
        for k in column[column >= 0].unique():
            members = white[column == k]
            means.append(members.mean(0) - known.mean(0))
            inside = members - members.mean(0)
            gap = inside.t() @ inside / len(members) - overall
            spreads += len(members) / len(known) * gap @ gap
    basis = _span(torch.stack(means).t())
    if covariances:
        rest = torch.eye(len(spreads), dtype=spreads.dtype, device=spreads.device) - basis @ basis.t()
        found = torch.linalg.eigh(rest @ spreads @ rest).eigenvectors
        room = len(spreads) - basis.shape[1]
        basis = torch.cat([basis, found.flip(1)[:, : min(covariances, room)]], dim=1)
    return AffineErasure(center, (axes / lengths) @ basis @ basis.t() @ (axes * lengths).t(), basis.shape[1])


def oracle_erasure(embeddings: Tensor, labels: Tensor) -> Tensor:
    r"""Users moved by their own labels, such that all class means are equal; the smallest such change of all.

    .. math:: x' = x - \Sigma_{xz} \Sigma_{zz}^+ (z - \bar z)

    z has a 1 for the class of each attribute. A user without a label of an attribute has that attribute's mean in z,
    and so is not moved by it.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n, A]``, integers; negative where there is no label.

    Returns:
        ``[n, d]``. The change depends on nothing but the labels: whoever has both versions reads them.

    Raises:
        ValueError: shapes disagree, or an attribute has fewer than two classes.

    Source:
        Belrose et al. (2023), section 4.3 (oracle LEACE): the residuals of a linear regression on the labels.
    """
    parts = []
    for column in _columns(embeddings, labels):
        known = (column >= 0).unsqueeze(1)
        one_hot = (column.unsqueeze(1) == column[column >= 0].unique()).double()
        parts.append(torch.where(known, one_hot - one_hot[known.squeeze(1)].mean(0), 0.0))
    z = torch.cat(parts, dim=1)
    # One class of each attribute follows from the others; the pseudo-inverse takes the shortest solution.
    weights = torch.linalg.pinv(z.t() @ z, hermitian=True) @ (z.t() @ embeddings.double())
    moved: Tensor = embeddings.double() - z @ weights
    return moved.to(embeddings.dtype)


def _span(vectors: Tensor) -> Tensor:
    """An orthonormal basis ``[d, r]`` of the span of columns ``[d, m]``."""
    left, values, _ = torch.linalg.svd(vectors, full_matrices=False)
    basis: Tensor = left[:, values > 1e-9 * values[:1].clamp_min(1e-9)]
    return basis


def _columns(embeddings: Tensor, labels: Tensor) -> list[Tensor]:
    if embeddings.ndim != 2 or labels.ndim != 2 or len(embeddings) != len(labels):
        raise ValueError(f"embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)} disagree")
    columns = list(labels.to(embeddings.device).t())
    for column in columns:
        if len(column[column >= 0].unique()) < 2:
            raise ValueError("an attribute has fewer than two classes, and there is nothing to erase")
    return columns
