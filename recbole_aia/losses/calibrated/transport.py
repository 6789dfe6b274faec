"""Classes take the moments of random groups of their sizes: Gaussian optimal transport in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 2  # over the attributes: what one moves, another has to see
_TINY = 1e-9  # smallest eigenvalue of a covariance, relative to its largest


def transport(embeddings: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    r"""Moves each class by the optimal transport map between Gaussians onto the moments of a random group.

    .. math:: y \mapsto \mu_{\pi k} + A_k (y - \mu_k), \qquad A_k = \Sigma_k^{-1/2}
        (\Sigma_k^{1/2} \Sigma_{\pi k} \Sigma_k^{1/2})^{1/2} \Sigma_k^{-1/2}

    The group :math:`\pi k` has the users whose labels, permuted once for all attributes, are k. Its moments differ from
    those of all who have a label by as much as chance makes them differ, so what remains between classes is a permuted
    label, and not an exact match, which answers could be read backwards from. Covariances of few users lean towards
    that of all: by :math:`d / n_k`, and altogether in a class of fewer users than dimensions.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n, A]``, integers; negative where a user has none, and does not move for that attribute.
        seed: of the permutation.

    Returns:
        ``[n, d]``; costs ``O(A n d^2)``.

    Source:
        Ours; Dowson and Landau (1982) for the map.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    ranks = order.argsort()
    moved = embeddings.detach().clone()
    for column in labels.t().repeat(_ROUNDS, 1):
        before, labeled = moved.clone(), (column >= 0).nonzero().squeeze(1)
        # Among those who have a label, in an order that is the same for all attributes.
        permuted = torch.full_like(column, -1)
        permuted[labeled[ranks[labeled].argsort()]] = column[labeled]
        pooled = mean_and_covariance(before[labeled])[1]
        for k in column[column >= 0].unique():
            users = before[column == k]
            share = min(1.0, users.shape[1] / len(users))
            mean, covariance = mean_and_covariance(users)
            # Of where users were before any attribute: targets that move would lose the scatter of the group.
            target_mean, target = mean_and_covariance(embeddings[permuted == k])
            source, target = (torch.lerp(matrix, pooled, share) for matrix in (covariance, target))
            linear = transport_map(source, target).to(users)
            moved[column == k] = target_mean.to(users) + (users - mean.to(users)) @ linear
    return moved


def mean_and_covariance(users: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[d]`` and covariance ``[d, d]``, in double precision."""
    mean = users.mean(0, dtype=torch.float64)
    centered = users - mean.to(users)
    return mean, (centered.t() @ centered).double() / len(users)


def transport_map(source: Tensor, target: Tensor) -> Tensor:
    """The symmetric matrix that takes one covariance to another."""
    root, inverse = _roots(source)
    return inverse @ _roots(root @ target @ root)[0] @ inverse


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(_TINY * float(values[-1])).clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * values.sqrt()) @ vectors.t(), (vectors * values.rsqrt()) @ vectors.t()
