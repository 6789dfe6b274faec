"""Moments of classes of users, with a gradient that costs what the values cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Blocks:
    """Users sorted into blocks, a class of an attribute each; a user stands in one block of an attribute at most.

    Args:
        rows: users block by block, ``[M]``.
        sizes: the blocks' sizes, ``[C]``, which sum to M.
        embeddings: where the users are now, ``[n, d]``.
    """

    def __init__(self, rows: Tensor, sizes: Sequence[int], embeddings: Tensor) -> None:
        self.rows, self.sizes = rows, list(sizes)
        # Moments about an origin near the users lose no digits.
        self.center = embeddings.mean(0)
        self.places = _places(rows, len(embeddings))


def _places(rows: Tensor, n_users: int) -> Tensor:
    """Where in ``rows [M]`` each user stands, ``[n_users, most]``, filled up with M."""
    order = torch.argsort(rows, stable=True)
    users = rows[order]
    nth = torch.arange(len(users), device=rows.device) - torch.searchsorted(users, users)
    places = rows.new_full((n_users, int(nth.max()) + 1), len(rows))
    places[users, nth] = order
    return places


def block_moments(embeddings: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """First and second moments of every block about ``blocks.center``, ``[C, d]`` and ``[C, d, d]``."""
    means, seconds = _Moments.apply(embeddings, blocks)  # type: ignore[no-untyped-call]
    return means, seconds


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        centered = (embeddings - blocks.center).index_select(0, blocks.rows)
        pieces, width = centered.split(blocks.sizes), embeddings.shape[1]
        sums = centered.new_empty(len(pieces), 1, width)
        squares = centered.new_empty(len(pieces), width, width)
        ones = centered.new_ones(1, max(blocks.sizes))
        for k, piece in enumerate(pieces):
            torch.mm(ones[:, : len(piece)], piece, out=sums[k])
            torch.mm(piece.t(), piece, out=squares[k])
        ctx.blocks = blocks
        ctx.save_for_backward(centered)
        sizes = _column(blocks, centered)
        return sums.squeeze(1) / sizes, squares.div_(sizes.unsqueeze(2))

    @staticmethod
    def backward(ctx: Any, of_means: Tensor, of_seconds: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (centered,), blocks = ctx.saved_tensors, ctx.blocks
        sizes = _column(blocks, centered)
        slopes = (of_seconds + of_seconds.transpose(1, 2)).div_(sizes.unsqueeze(2))
        shifts = of_means / sizes
        moved = centered.new_empty(len(centered) + 1, centered.shape[1])
        moved[-1] = 0  # where users stand who miss a label
        pairs = zip(centered.split(blocks.sizes), moved[:-1].split(blocks.sizes), strict=True)
        for k, (piece, out) in enumerate(pairs):
            torch.mm(piece, slopes[k], out=out).add_(shifts[k])
        return F.embedding_bag(blocks.places, moved, mode="sum"), None


def _column(blocks: Blocks, like: Tensor) -> Tensor:
    return torch.tensor(blocks.sizes, dtype=like.dtype, device=like.device).unsqueeze(1)
