"""Classes take the moments of random groups of their sizes: Gaussian optimal transport in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 2  # passes over the attributes: moving users for one attribute changes the moments of another's classes
_TINY = 1e-9  # eigenvalues of a covariance are raised to this share of its largest: their roots are inverted


def transport(embeddings: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    r"""Moves each class by the optimal transport map between Gaussians onto the moments of a random group.

    .. math:: y \mapsto \mu_{\pi k} + A_k (y - \mu_k), \qquad A_k = \Sigma_k^{-1/2}
        (\Sigma_k^{1/2} \Sigma_{\pi k} \Sigma_k^{1/2})^{1/2} \Sigma_k^{-1/2}

    The group :math:`\pi k` has the users whose labels, permuted once for all attributes, are k. The moments of random
    groups differ by chance, and classes that take them differ by chance too. An exact match of all classes would
    differ by less, and an attacker reads it backwards.

    The covariance of a class of :math:`n_k` users is mixed with that of all, which gets the weight
    :math:`\min(1, d / n_k)`.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n, A]``, integers; negative where a user has none, and does not move for that attribute.
        seed: of the permutation.

    Returns:
        The moved users, ``[n, d]``. Takes ``O(A n d^2)``.

    Source:
        Ours; Dowson and Landau (1982) for the map.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    ranks = order.argsort()
    moved = embeddings.detach().clone()
    for column in labels.t().repeat(_ROUNDS, 1):
        before, labeled = moved.clone(), (column >= 0).nonzero().squeeze(1)
        # Labels are permuted among those who have one, in an order that is the same for all attributes.
        permuted = torch.full_like(column, -1)
        permuted[labeled[ranks[labeled].argsort()]] = column[labeled]
        pooled = mean_and_covariance(before[labeled])[1]
        for k in column[column >= 0].unique():
            users = before[column == k]
            share = min(1.0, users.shape[1] / len(users))
            mean, covariance = mean_and_covariance(users)
            # Taken where users were at first: once they have moved, a random group has lost its scatter.
            target_mean, target = mean_and_covariance(embeddings[permuted == k])
            source, target = (torch.lerp(matrix, pooled, share) for matrix in (covariance, target))
            linear = transport_map(source, target).to(users)
            moved[column == k] = target_mean.to(users) + (users - mean.to(users)) @ linear
    return moved


def mean_and_covariance(users: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[d]`` and covariance ``[d, d]`` of ``users [n, d]``, divided by n, in double precision."""
    mean = users.mean(0, dtype=torch.float64)
    centered = users - mean.to(users)
    return mean, (centered.t() @ centered).double() / len(users)


def transport_map(source: Tensor, target: Tensor) -> Tensor:
    r"""The symmetric matrix A that takes one covariance to another: :math:`A \Sigma_s A = \Sigma_t`.

    .. math:: A = \Sigma_s^{-1/2} (\Sigma_s^{1/2} \Sigma_t \Sigma_s^{1/2})^{1/2} \Sigma_s^{-1/2}

    Args:
        source: :math:`\Sigma_s`, ``[d, d]``.
        target: :math:`\Sigma_t`, ``[d, d]``.

    Source:
        Dowson and Landau (1982).
    """
    root, inverse = _roots(source)
    return inverse @ _roots(root @ target @ root)[0] @ inverse


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of a covariance, and the inverse of that root."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(_TINY * float(values[-1])).clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * values.sqrt()) @ vectors.t(), (vectors * values.rsqrt()) @ vectors.t()
