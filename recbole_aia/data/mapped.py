"""Interactions whose columns stay where they are, such as in mapped files: a part of them is a list of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

Rows = NDArray[np.integer]


class MappedInteraction(Interaction):  # type: ignore[misc]
    """RecBole's ``Interaction`` that gathers a column, or some rows, when they are asked for.

    Whatever asks for a whole column gets a tensor of its own, 8 bytes for an id and 4 for a number, and lets it go
    when it is done. Sorting and shuffling move the list of rows alone, 4 bytes for each.

    Args:
        columns: ``[n]`` each; ids as integers, numbers as float64.
        rows: which rows of the columns, in which order; ``None`` for all as they are.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: Rows | None = None) -> None:
        self.interaction = _Columns(columns, rows)
        self.length = len(next(iter(columns.values())) if rows is None else rows)

    def part(self, places: Rows) -> MappedInteraction:
        """The interactions at some places, of the same columns."""
        return MappedInteraction(self.interaction.columns, self.interaction.rows_at(places))

    def __getitem__(self, index: Any) -> Any:
        """A column as a tensor, or what stands at an index as an ``Interaction`` of tensors."""
        if isinstance(index, str):
            return self.interaction[index]
        places = np.arange(self.length)[index] if isinstance(index, slice) else np.asarray(index, dtype=np.int64)
        rows = self.interaction.rows_at(places)
        return Interaction({name: self.interaction.gathered(name, rows) for name in self.interaction})

    def _reindex(self, index: Any) -> None:
        self.interaction.rows = self.interaction.rows_at(np.asarray(index))

    def __deepcopy__(self, memo: Any) -> MappedInteraction:
        """The same columns, which nothing changes, in an order of their own."""
        return MappedInteraction(self.interaction.columns, self.interaction.rows)


class _Columns(Mapping[str, Tensor]):
    """Stands where RecBole's ``Interaction`` has its dictionary of tensors."""

    def __init__(self, columns: Mapping[str, np.ndarray], rows: Rows | None) -> None:
        self.columns, self.rows = dict(columns), rows
        self._narrow = np.int32 if len(next(iter(columns.values()))) < 2**31 else np.int64

    def rows_at(self, places: Rows) -> Rows:
        """The rows of the columns that stand at some places."""
        return places.astype(self._narrow) if self.rows is None else self.rows[places]

    def gathered(self, name: str, rows: Rows | None) -> Tensor:
        """A column as RecBole has it in an ``Interaction``: ids as long, numbers in single precision."""
        column = self.columns[name]
        picked = np.asarray(column if rows is None else column[rows])
        return torch.from_numpy(picked.astype(np.float32 if picked.dtype.kind == "f" else np.int64))

    def __getitem__(self, name: str) -> Tensor:
        return self.gathered(name, self.rows)

    def __delitem__(self, name: str) -> None:
        del self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def split_groups(groups: NDArray[np.integer], bounds: Callable[[NDArray[np.int64]], list[Rows]]) -> list[Rows]:
    """Splits every group at places of its own, as RecBole does with lists of Python's.

    Args:
        groups: the group of each interaction, ``[n]``.
        bounds: gives, from the sizes of the groups ``[G]``, where each part but the first begins in each group.

    Returns:
        The places of each part, group by group in the order of first appearance.
    """
    codes = pd.factorize(groups)[0].astype(np.int32)
    sizes = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    del codes
    ends = np.cumsum(sizes)
    steps = np.zeros(len(order) + 1, dtype=np.int8)
    first = bounds(sizes)
    for begin in first:
        np.add.at(steps, ends - sizes + begin, 1)
        np.add.at(steps, ends, -1)
    part = np.cumsum(steps[:-1], dtype=np.int8)
    return [order[part == number] for number in range(len(first) + 1)]
