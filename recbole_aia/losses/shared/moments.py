"""Moments of classes of users, with a gradient that costs what the values cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.ranks import ranks

_USERS_PER_DIMENSION = 2  # attributes share cells of 2 d users or more; adding up smaller ones costs more than it saves


class Cells:
    """Users sorted into cells, such that every class of an attribute is a union of cells.

    A cell is a combination of labels: (F, 18-24) is one of gender and age. Attributes of few classes share cells, and a
    user is multiplied once for all of them. Attributes that do not share form groups: a user is in one cell of each
    group, or in none where no label of the group is known. Of several processes each has a part of the sorted users.

    Args:
        labels: ``[n, A]``; negative where a user takes no part.
        classes: (attribute, label) of each class, ``C`` of them.
        embeddings: where the users are now, ``[n, d]``.
    """

    def __init__(self, labels: Tensor, classes: Sequence[tuple[int, int]], embeddings: Tensor) -> None:
        # Moments about an origin near the users lose no digits.
        self.center = embeddings.mean(0)
        rows, self.sizes, memberships = list[Tensor](), list[int](), list[Tensor]()
        for group in _groups(classes, len(labels) / embeddings.shape[1]):
            known = (labels[:, group] >= 0).any(1).nonzero().squeeze(1)
            cells, cell_of, sizes = labels[known][:, group].unique(dim=0, return_inverse=True, return_counts=True)
            rows.append(known[torch.argsort(cell_of, stable=True)])
            self.sizes += sizes.tolist()
            columns = [cells[:, group.index(a)] == k if a in group else cells[:, 0] < -1 for a, k in classes]
            memberships.append(torch.stack(columns))
        membership = torch.cat(memberships, dim=1).to(embeddings.dtype)
        sizes_of_cells = torch.tensor(self.sizes, dtype=embeddings.dtype, device=embeddings.device)
        every, own = torch.cat(rows), ranks().part(sum(self.sizes))
        ends = torch.tensor([0, *self.sizes]).cumsum(0).clamp(own.start, own.stop)
        self.sizes = ends.diff().tolist()
        self.rows = every[own]
        #: Weights of cells in the moments of classes, ``[C, cells]``; moments of a cell are sums over its users.
        self.weights = membership / (membership @ sizes_of_cells).unsqueeze(1)
        self.places = _places(self.rows, len(embeddings))


def _groups(classes: Sequence[tuple[int, int]], users_per_dimension: float) -> list[list[int]]:
    """Groups of attributes that share cells; those of few classes come first."""
    counts: dict[int, int] = {}
    for a, _ in classes:
        counts[a] = counts.get(a, 1) + 1  # one more than there are classes: an unknown label is in none of them
    groups, cells = list[list[int]](), 1
    for a in sorted(counts, key=lambda a: counts[a]):
        cells *= counts[a]
        if groups and users_per_dimension >= _USERS_PER_DIMENSION * cells:
            groups[-1].append(a)
        else:
            groups.append([a])
            cells = counts[a]
    return groups


def _places(rows: Tensor, n_users: int) -> Tensor:
    """The places of each user in ``rows [M]``, ``[n_users, most]``; a user with fewer places has M for the others."""
    order = torch.argsort(rows, stable=True)
    users = rows[order]
    nth = torch.arange(len(users), device=rows.device) - torch.searchsorted(users, users)
    most = int(nth.max()) + 1 if len(rows) else 1
    places = rows.new_full((n_users, most), len(rows))
    places[users, nth] = order
    return places


def class_moments(embeddings: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
    r"""First and second moments of every class about an origin, differentiable.

    .. math:: \frac1{N_k} \sum_{i \in k} (y_i - o), \qquad \frac1{N_k} \sum_{i \in k} (y_i - o)(y_i - o)^\top

    Args:
        embeddings: where users are now, ``[n, d]``.
        cells: of their classes; the origin o is ``cells.center``.

    Returns:
        ``[C, d]`` and ``[C, d, d]``.
    """
    means, seconds = _Moments.apply(embeddings, cells)  # type: ignore[no-untyped-call]
    return means, seconds


class _Moments(torch.autograd.Function):
    """Users with a 1 as one more entry: both moments of a cell are then one product forward, and one backward."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        width = embeddings.shape[1]
        users = embeddings.new_ones(len(cells.rows), width + 1)
        torch.index_select(embeddings - cells.center, 0, cells.rows, out=users[:, :width])
        products = users.new_empty(len(cells.sizes), width + 1, width + 1)
        for piece, out in zip(users.split(cells.sizes), products, strict=True):
            torch.mm(piece.t(), piece, out=out)
        ranks().add(products)
        ctx.cells = cells
        ctx.save_for_backward(users)
        moments = (cells.weights @ products.flatten(1)).view(-1, width + 1, width + 1)
        return moments[:, width, :width], moments[:, :width, :width].contiguous()

    @staticmethod
    def backward(ctx: Any, of_means: Tensor, of_seconds: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (users,), cells = ctx.saved_tensors, ctx.cells
        slopes = torch.cat([of_seconds + of_seconds.transpose(1, 2), of_means.unsqueeze(1)], dim=1)
        slopes = (cells.weights.t() @ slopes.flatten(1)).view(-1, *slopes.shape[1:])
        moved = users.new_empty(len(users) + 1, slopes.shape[2])
        moved[-1] = 0  # the row of those who are in no cell
        for piece, slope, out in zip(users.split(cells.sizes), slopes, moved[:-1].split(cells.sizes), strict=True):
            torch.mm(piece, slope, out=out)
        gradient = F.embedding_bag(cells.places, moved, mode="sum")
        ranks().add(gradient)
        return gradient, None
