"""Work on a device, as much at a time as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BYTES = 2**33  # that are used at a time; on a GPU half of what is free, if that is less


def in_blocks(
    items: Sequence[_Item], sizes: Sequence[int], solve: Callable[[Sequence[_Item]], Sequence[_Result]], device: str
) -> list[_Result]:
    """The results of all items, in their order. Items of like size share a block, which has room on the device.

    Args:
        items: at least one.
        sizes: bytes that each item takes; in a block all take as much as the largest.
        solve: from a block to its results.
        device: where torch computes.

    Raises:
        torch.OutOfMemoryError: a single item does not fit.
    """
    room = _BYTES
    if torch.device(device).type == "cuda":
        room = min(room, torch.cuda.mem_get_info(torch.device(device))[0] // 2)
    blocks: list[list[int]] = []
    for index in sorted(range(len(items)), key=lambda index: sizes[index]):
        if blocks and (len(blocks[-1]) + 1) * sizes[index] <= room:
            blocks[-1].append(index)
        else:
            blocks.append([index])
    found: dict[int, _Result] = {}
    for block in blocks:
        found |= zip(block, _shrinking([items[index] for index in block], solve), strict=True)
    return [found[index] for index in range(len(items))]


def _shrinking(items: Sequence[_Item], solve: Callable[[Sequence[_Item]], Sequence[_Result]]) -> list[_Result]:
    """The results of a block, which is halved where the device has less room than it said."""
    try:
        return list(solve(items))
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(items) // 2
    return [*_shrinking(items[:half], solve), *_shrinking(items[half:], solve)]
