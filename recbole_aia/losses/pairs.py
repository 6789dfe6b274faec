"""Losses on pairs of classes (U2U-R, D2D-R), and the rank margin that keeps recommendations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_aia.losses.shared.sums import add_groups

#: Bandwidths of the five Gaussian kernels, relative to the mean squared distance of two users; from D2D-R.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def user_to_user(embeddings: Tensor, labels: Tensor) -> Tensor:
    r"""Sum of squared distances between users of different classes, in ``O(n d)``.

    .. math:: \sum_{k<l} \sum_{i \in k, j \in l} \lVert e_i - e_j \rVert^2
        = \sum_i (n - n_{k(i)}) \lVert e_i \rVert^2 - \lVert \textstyle\sum_i e_i \rVert^2
        + \sum_k \lVert \textstyle\sum_{i \in k} e_i \rVert^2

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n]``, integers; users with a negative label do not take part.

    Returns:
        Scalar, >= 0 but for rounding. It is 0 where all users are the same, so another loss has to hold them apart.

    Source:
        U2U-R (Making Users Indistinguishable, 2023), as the Laplacian of the complete graph between classes. The paper
        has two classes; here all pairs of classes count.
    """
    embeddings, classes, sizes = _known(embeddings, labels)
    # Distances do not depend on the origin; near it, sums lose fewer digits.
    embeddings = embeddings - embeddings.mean(0).detach()
    sums = add_groups(embeddings.new_zeros(len(sizes), embeddings.shape[1]), classes, embeddings)
    others = (len(classes) - sizes)[classes].to(embeddings.dtype)
    return others @ embeddings.square().sum(1) - sums.sum(0).square().sum() + sums.square().sum()


def distribution_to_distribution(embeddings: Tensor, labels: Tensor, chunk: int = 4096) -> Tensor:
    r"""Sum over pairs of classes of the squared maximum mean discrepancy, under five Gaussian kernels.

    .. math:: \sum_{k<l} \overline{K}_{kk} + \overline{K}_{ll} - 2 \overline{K}_{kl}, \qquad
        \overline{K}_{kl} = \operatorname*{mean}_{i \in k, j \in l} \sum_b \exp(-\lVert e_i - e_j \rVert^2 / b)

    This is the biased estimate. Bandwidths are :math:`\bar b\,(\tfrac14, \tfrac12, 1, 2, 4)` for the mean squared
    distance :math:`\bar b` of two users, which the gradient takes for a constant.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n]``, integers; users with a negative label do not take part.
        chunk: rows of distances at a time; values and gradient take memory for ``chunk * n`` of them.

    Returns:
        Scalar, >= 0 but for rounding.

    Source:
        D2D-R (Making Users Indistinguishable, 2023). Its code compares each class with one of them; here all pairs
        of classes count.
    """
    embeddings, classes, sizes = _known(embeddings, labels)
    embeddings = embeddings - embeddings.mean(0).detach()
    n_classes = len(sizes)
    # The mean squared distance of two users, twice their variance about the mean.
    spread = (2 * embeddings.detach().square().sum(1).mean()).clamp_min(torch.finfo(embeddings.dtype).tiny)

    def sums(rows: Tensor, row_classes: Tensor) -> Tensor:
        kernel = _kernels(rows, embeddings, spread)
        by_column = add_groups(kernel.new_zeros(len(kernel), n_classes), classes, kernel, dim=1)
        return add_groups(kernel.new_zeros(n_classes, n_classes), row_classes, by_column)

    total = sum(_chunked(sums, embeddings, classes, chunk), start=embeddings.new_zeros(n_classes, n_classes))
    means = total / (sizes.unsqueeze(1) * sizes).to(total.dtype)
    pairs = [means[k, k] + means[j, j] - 2 * means[k, j] for k, j in combinations(range(n_classes), 2)]
    return torch.stack(pairs).sum()


def _chunked(
    function: Callable[[Tensor, Tensor], Tensor], rows: Tensor, classes: Tensor, chunk: int
) -> Iterator[Tensor]:
    """Values of blocks of rows; where there are several, each is computed again backward instead of kept."""
    if len(rows) <= chunk:
        yield function(rows, classes)
        return
    for block, own in zip(rows.split(chunk), classes.split(chunk), strict=True):
        yield checkpoint(function, block, own, use_reentrant=False)  # type: ignore[misc]


def _kernels(rows: Tensor, columns: Tensor, spread: Tensor) -> Tensor:
    """The sum of the five kernels between ``rows [n, d]`` and ``columns [m, d]``, ``[n, m]``."""
    squares = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
    distances = torch.addmm(squares, rows, columns.t(), alpha=-2).clamp_min(0)
    # Each bandwidth is half the next, so one exponential gives all five: each is the square of the one before.
    kernel = torch.exp(-distances / (spread * BANDWIDTHS[-1]))
    total = kernel
    for _ in BANDWIDTHS[1:]:
        kernel = kernel.square()
        total = total + kernel
    return total


def rank_margin(scores: Tensor, margin: float = 0.05) -> Tensor:
    r"""How far scores have left an earlier ranking: :math:`\sum_r [s_{r+1} - s_r + m]_+` over adjacent ranks.

    Args:
        scores: ``[n, R]``, today's scores of the items that used to be a user's best, from the first rank to the last.
        margin: the least lead of a rank over the next, >= 0.

    Returns:
        Scalar, the sum over users and ranks, >= 0; 0 where every lead is at least the margin.

    Source:
        The regularizer of U2U-R and D2D-R, with R = 20 and m = 0.05.
    """
    return (scores[:, 1:] - scores[:, :-1] + margin).clamp_min(0).sum()


def _known(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Users with a label, their classes from 0 without gaps, and the classes' sizes.

    Raises:
        ValueError: shapes disagree, or there are not two classes.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(f"embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)} disagree")
    labels = labels.to(embeddings.device)
    known = labels >= 0
    present, classes, sizes = labels[known].unique(return_inverse=True, return_counts=True)
    if len(present) < 2:
        raise ValueError(f"{len(present)} class has users, expected at least two to bring together")
    return embeddings if known.all() else embeddings[known], classes, sizes
