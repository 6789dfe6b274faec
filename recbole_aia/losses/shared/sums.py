"""Sums over groups that give the same bits each time, on a GPU too."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def add_groups(base: Tensor, groups: Tensor, values: Tensor, dim: int = 0) -> Tensor:
    """As ``base.index_add(dim, groups, values)``, of which a GPU adds the terms in an order that changes.

    On a GPU this is a product, whose order never changes.

    Args:
        base: what is added to, ``[G, ...]``, or ``[m, G]`` for ``dim`` 1.
        groups: the group of each row, or column, of ``values``, ``[n]``.
        values: ``[n, ...]``, or ``[m, n]`` for ``dim`` 1.
        dim: 0 for rows, 1 for columns.
    """
    if base.is_cpu:
        return base.index_add(dim, groups, values)
    members = F.one_hot(groups, base.shape[dim]).to(values.dtype)
    if dim == 1:
        return base + values @ members
    return base + (members.t() @ values.flatten(1)).view_as(base)
