"""Collects more interactions than memory takes: they wait on the disk, and few of them are read at a time.

The result is that of :class:`~recbole_aia.data.converters.interactions.Collector`, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recbole_aia.data.converters.interactions import Interactions, Merge, merge_repeated
from recbole_aia.data.shards import Part

_BUCKETS = 64  # files by user; what is merged at a time is about this part of everything
_ROWS = 1 << 22  # rows that are put into order at a time
_PLACE = "place"  # where a pair first stood


class SpilledCollector:
    """Takes interactions part by part and keeps one for each pair of user and item, in files.

    Args:
        merge: see :class:`Collector`.
        folder: an empty folder for the files, which stay there.
        buckets: number of files.

    Attributes:
        repeated: number of interactions that were merged into another one; known after :meth:`all`.
    """

    def __init__(self, merge: Mapping[str, Merge], folder: Path, buckets: int = _BUCKETS) -> None:
        self._merge: dict[str, Merge] = {**merge, _PLACE: "first"}
        self._folder, self._files = folder, [folder / f"users{number}" for number in range(buckets)]
        self._taken = self.repeated = 0
        self._names: list[str] = []

    def add(self, part: Interactions) -> None:
        """Takes some interactions."""
        self._names = list(part.numbers)
        records = _records(part, np.arange(self._taken, self._taken + len(part)))
        self._taken += len(part)
        _scatter(records, part.users % len(self._files), self._files)

    def all(self) -> SpilledInteractions:
        """All interactions; nothing can be added any more."""
        kept, most = 0, [0, 0]
        for file in self._files:
            if not file.is_file():
                continue
            records = _read(file, self._names)
            merged = merge_repeated(_interactions(records, [*self._names, _PLACE]), self._merge)
            self.repeated += len(records) - len(merged)
            kept += len(merged)
            most = [
                max(size, int(codes.max()) + 1) for size, codes in zip(most, (merged.users, merged.items), strict=True)
            ]
            _records(merged, merged.numbers[_PLACE].astype(np.int64), self._names).tofile(file)
        stays = np.ones(most[0], bool), np.ones(most[1], bool)
        return SpilledInteractions(self._folder, tuple(self._files), tuple(self._names), *stays, kept, self._taken)


@dataclass(frozen=True)
class SpilledInteractions:
    """Interactions in files, of which those of some users and items are kept.

    Attributes:
        folder: for further files.
        files: the interactions, in any order.
        names: the columns of numbers.
        users: whether each user stays, ``[n_users]``.
        items: whether each item stays, ``[n_items]``.
        kept: number of interactions that stay.
        places: number of places at which an interaction can have stood.
    """

    folder: Path
    files: tuple[Path, ...]
    names: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray
    kept: int
    places: int

    def __len__(self) -> int:
        return self.kept

    def of_users(self, mask: np.ndarray) -> SpilledInteractions:
        """The interactions of the users that a mask selects."""
        fewer = replace(self, users=self.users & mask[: len(self.users)])
        return replace(fewer, kept=int(fewer.counts()[0].sum()))

    def core(self, least: int) -> SpilledInteractions:
        """The k-core for k = ``least``; see :func:`~recbole_aia.data.converters.interactions.core`."""
        found = self
        while True:
            users, items = found.counts()
            kept = int(users.sum())
            fewer = replace(
                found, users=found.users & (users >= least), items=found.items & (items >= least), kept=kept
            )
            if least == 1 or ((fewer.users == (users > 0)).all() and (fewer.items == (items > 0)).all()):
                return fewer
            found = fewer

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of interactions of each user and of each item."""
        users, items = np.zeros(len(self.users), np.int64), np.zeros(len(self.items), np.int64)
        for records in self._records():
            users += np.bincount(records["user"], minlength=len(users))
            items += np.bincount(records["item"], minlength=len(items))
        return users, items

    def parts(self) -> Iterator[Part]:
        """The interactions in the order in which their pairs first appeared."""
        files = [self.folder / f"places{number}" for number in range(self.places // _ROWS + 1)]
        for records in self._records():
            _scatter(records, records[_PLACE] // _ROWS, files)
        for file in files:
            if file.is_file():
                records = _read(file, self.names)
                file.unlink()
                records = records[np.argsort(records[_PLACE], kind="stable")]
                yield records["user"], records["item"], {name: records[name] for name in self.names}

    def _records(self) -> Iterator[np.ndarray]:
        for file in self.files:
            if file.is_file():
                records = _read(file, self.names)
                yield records[self.users[records["user"]] & self.items[records["item"]]]


def _kind(names: tuple[str, ...] | list[str]) -> np.dtype:
    return np.dtype([(_PLACE, "<i8"), ("user", "<i4"), ("item", "<i4"), *((name, "<f8") for name in names)])


def _read(file: Path, names: tuple[str, ...] | list[str]) -> np.ndarray:
    return np.fromfile(file, _kind(names))


def _records(part: Interactions, places: np.ndarray, names: list[str] | None = None) -> np.ndarray:
    names = list(part.numbers) if names is None else names
    records = np.empty(len(part), _kind(names))
    records[_PLACE], records["user"], records["item"] = places, part.users, part.items
    for name in names:
        records[name] = part.numbers[name]
    return records


def _interactions(records: np.ndarray, names: list[str]) -> Interactions:
    numbers = {name: records[name].astype(np.float64) for name in names}  # places are exact up to 2**53
    return Interactions(records["user"].copy(), records["item"].copy(), numbers)


def _scatter(records: np.ndarray, numbers: np.ndarray, files: list[Path]) -> None:
    """Appends each record to the file of its number."""
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(files)))
    for file, part in zip(files, np.split(records[order], ends[:-1]), strict=True):
        if len(part):
            with file.open("ab") as opened:
                part.tofile(opened)
