"""Checks of what several losses take."""

from __future__ import annotations

from torch import Tensor


def check_movers(embeddings: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> None:
    """Raises ValueError where the shapes of users who move, of users who stay, and of their labels disagree.

    Args:
        embeddings: of users who move, ``[n, d]``.
        labels: theirs, ``[n, A]``.
        others: embeddings of users who stay, ``[m, d]``.
        other_labels: theirs, ``[m, A]``.
    """
    shapes = [tuple(t.shape) for t in (embeddings, labels, others, other_labels)]
    fits = embeddings.ndim == labels.ndim == others.ndim == other_labels.ndim == 2
    if not fits or shapes[0][0] != shapes[1][0] or shapes[2][0] != shapes[3][0]:
        raise ValueError(f"embeddings and labels of shapes {shapes} disagree, expected [n, d], [n, A], [m, d], [m, A]")
    if shapes[0][1] != shapes[2][1] or shapes[1][1] != shapes[3][1]:
        raise ValueError(f"users who move and others disagree in shapes {shapes}: widths d and A must be the same")
