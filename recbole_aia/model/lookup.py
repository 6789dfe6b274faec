"""Rows of tables, whose gradients a GPU adds up in one launch and always in the same order."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Lookup:
    """Looks up the same rows in several tables.

    torch's own gradient sorts the places of the rows, which takes ten launches, once for each lookup. Here they are
    sorted once.

    Args:
        places: of the rows, ``[n]``; a place may occur more than once.
        height: number of rows of the tables.
    """

    def __init__(self, places: Tensor, height: int) -> None:
        self.places = places
        ordered = places.sort(stable=True)
        self.order = ordered.indices
        #: Where the places of each row begin in :attr:`order`, ``[height + 1]``.
        self.starts = torch.searchsorted(ordered.values, torch.arange(height + 1, device=places.device))

    @classmethod
    def of_triples(cls, model: Any, interaction: Any) -> Lookup:
        """The users, positive and negative items of a pairwise batch, in a table of users above items."""
        users = interaction[model.USER_ID]
        items = (interaction[name] + model.n_users for name in (model.ITEM_ID, model.NEG_ITEM_ID))
        return cls(torch.cat([users, *items]), model.n_users + model.n_items)

    def __call__(self, table: Tensor) -> Tensor:
        """The rows of a table ``[height, d]``, ``[n, d]``, differentiable."""
        return _Rows.apply(table, self)  # type: ignore[no-any-return,no-untyped-call]


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, lookup: Lookup) -> Tensor:
        ctx.lookup = lookup
        return table[lookup.places]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        lookup: Lookup = ctx.lookup
        return F.embedding_bag(
            lookup.order, grads[0].contiguous(), lookup.starts, mode="sum", include_last_offset=True
        ), None
