"""The defensive loss of RAID: the distance of every user to its place in the barycenter."""

from __future__ import annotations

import torch
from torch import Tensor


def defensive_loss(embeddings: Tensor, targets: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    r"""Sum over classes of the mean squared distance to the transport targets.

    .. math:: \sum_k \frac1{N_k} \sum_{p \in k} \lVert y_p - z_p \rVert^2,
        \qquad z_p = N_k \sum_q T_k(p, q)\, \bar y_q

    With z held constant, its gradient is that of :math:`\sum_k W_2^2(\hat P(Y^k), \hat P^*)`, which is
    :math:`2 \sum_k \sum_{p \in k} J_p^\top (y_p / N_k - \sum_q T_k(p, q)\, \bar y_q)`. Its value is smaller: where a
    user's mass goes to several atoms, the sum has their spread about :math:`z_p` too.

    Args:
        embeddings: :math:`y`, ``[B, d]``; the gradient goes here and nowhere else.
        targets: :math:`z`, ``[B, d]``, see :meth:`Coupling.targets`.
        labels: ``[B]``, integers in ``[0, n_classes)``; leave users without a label out.
        n_classes: K, at least 1.

    Returns:
        Scalar, >= 0. Means are over the batch; a class without a user in it adds nothing, and an
        empty batch gives zero.

    Raises:
        ValueError: shapes disagree, or a label is outside ``[0, n_classes)``.

    Source:
        RAID, eq. 12 and Lemma 2.
    """
    if embeddings.shape != targets.shape or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings {tuple(embeddings.shape)}, targets {tuple(targets.shape)} and labels "
            f"{tuple(labels.shape)} disagree, expected [B, d], [B, d] and [B]"
        )
    if labels.numel() and (labels.min() < 0 or labels.max() >= n_classes):
        raise ValueError(f"labels lie in [{int(labels.min())}, {int(labels.max())}], expected [0, {n_classes - 1}]")
    return mean_distances(embeddings, targets, labels, n_classes)


def mean_distances(embeddings: Tensor, targets: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """:func:`defensive_loss` without a look at its arguments, which would wait for a GPU."""
    classes = torch.arange(n_classes, device=labels.device)
    counts = (labels == classes.unsqueeze(1)).sum(1).to(embeddings.dtype)
    distances = (embeddings - targets.detach()).square().sum(1)
    return (distances / counts[labels]).sum()
