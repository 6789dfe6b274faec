"""Interactions as shards: a file for each column, which a run maps into memory instead of reading text.

The folder ``NAME.shards`` beside ``NAME.user`` holds

- ``COLUMN.npy``: users and items as int32, numbered from 1 in the order in which they first appear; numbers as float64;
- ``COLUMN.tokens``: the original ids of users or items, a line for each, the first for number 1;
- ``shards.json``: how many interactions, users and items there are.

A shard is a whole column, because a training takes rows in any order, and only what lies in one file can be mapped as
one array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_aia.data.arrays import map_npy
from recbole_aia.errors import AttributeDataError

SCHEMA = "recbole-aia-shards/1"
_ABOUT = "shards.json"
_ID, _NUMBER = np.dtype("<i4"), np.dtype("<f8")
USER, ITEM = "user_id", "item_id"

#: Users ``[k]``, items ``[k]`` and columns of numbers ``[k]`` of some interactions; users and items by any number.
Part = tuple[NDArray[np.integer], NDArray[np.integer], Mapping[str, NDArray[np.generic]]]


def shards_folder(folder: Path, name: str) -> Path:
    """Where the shards of a dataset lie, if it has any."""
    return folder / f"{name}.shards"


@dataclass(frozen=True)
class Shards:
    """The shards of a dataset, of which nothing is read before it is used.

    Attributes:
        folder: where they lie.
        interactions: number of interactions.
        ids: number of users and of items, by column.
        numbers: names of the columns of numbers.
    """

    folder: Path
    interactions: int
    ids: Mapping[str, int]
    numbers: tuple[str, ...]

    @classmethod
    def opened(cls, folder: Path) -> Shards:
        """The shards in a folder.

        Raises:
            AttributeDataError: a file is missing, too short or of another version, or the folder is of something else.
        """
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            schema = about["schema"]
            if schema != SCHEMA:
                raise AttributeDataError(
                    f"'{folder}' is of the version {schema}, and this recbole-aia reads {SCHEMA}. Prepare it again."
                )
            count, ids = int(about["interactions"]), {name: int(about["ids"][name]) for name in (USER, ITEM)}
            numbers = tuple(about["numbers"])
            if min(count, *ids.values()) < 1 or any(Path(name).name != name for name in numbers):
                raise ValueError(about)
        except FileNotFoundError as error:
            raise AttributeDataError(f"'{folder}' has no {_ABOUT}. Prepare it again.") from error
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, AttributeDataError):
                raise
            raise AttributeDataError(f"'{folder / _ABOUT}' is damaged. Prepare the dataset again.") from error
        found = cls(folder, count, ids, numbers)
        for name in (*ids, *numbers):
            found.column(name)
        return found

    @property
    def columns(self) -> dict[str, str]:
        """The columns and their types, as in the header of an atomic file."""
        return dict.fromkeys(self.ids, "token") | dict.fromkeys(self.numbers, "float")

    def column(self, name: str) -> np.ndarray:
        """A column ``[interactions]``, mapped: what is changed in it does not reach the file."""
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise AttributeDataError(f"the shard '{path}' is missing. Copy it again, or prepare the dataset again.")
        array = map_npy(path)
        expected = _ID if name in self.ids else _NUMBER
        if array.shape != (self.interactions,) or array.dtype != expected:
            raise AttributeDataError(
                f"the shard '{path}' holds {array.shape} {array.dtype}, and ({self.interactions},) {expected} are "
                "expected. Copy it again, or prepare the dataset again."
            )
        return array

    def check_ids(self) -> None:
        """Reads the columns of ids once.

        Raises:
            AttributeDataError: an id is not that of a user or an item.
        """
        for name, count in self.ids.items():
            column = self.column(name)
            if column.min() < 1 or column.max() > count:
                raise AttributeDataError(
                    f"the shard '{self.folder / name}.npy' holds ids beyond 1 to {count}. Is it damaged? Copy it again."
                )

    def tokens(self, name: str) -> NDArray[np.object_]:
        """The original ids of users or items, ``[n]``; the first is that of number 1."""
        path = self.folder / f"{name}.tokens"
        try:
            texts = path.read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, UnicodeError) as error:
            raise AttributeDataError(f"'{path}' is missing or cannot be read. Prepare the dataset again.") from error
        if len(texts) != self.ids[name]:
            raise AttributeDataError(
                f"'{path}' has {len(texts)} lines, and {self.ids[name]} are expected. Copy it again."
            )
        if pd.Index(texts).has_duplicates:
            raise AttributeDataError(f"'{path}' names somebody twice. Is it damaged? Copy it again.")
        return np.array(texts, dtype=object)

    def files(self) -> list[Path]:
        """All files, in the order of their names."""
        names = [_ABOUT, *(f"{name}.npy" for name in self.columns), *(f"{name}.tokens" for name in self.ids)]
        return sorted(self.folder / name for name in names)


def write_shards(
    folder: Path,
    count: int,
    numbers: Sequence[str],
    parts: Iterable[Part],
    users: Sequence[object],
    items: Sequence[object],
) -> None:
    """Writes shards part by part; memory is needed for a part, and for users and items.

    Args:
        folder: an existing, empty folder.
        count: number of interactions.
        numbers: names of the columns of numbers.
        parts: the interactions, in their order.
        users: the users' ids, whose texts are as atomic files have them, by the number that parts use.
        items: the items' ids, likewise.
    """
    columns = {USER: _Renumbering(len(users)), ITEM: _Renumbering(len(items))}
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in (*columns, *numbers)}
        for name, file in files.items():
            kind = _ID if name in columns else _NUMBER
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(file, header)
        for part_users, part_items, values in parts:
            for (name, numbering), codes in zip(columns.items(), (part_users, part_items), strict=True):
                files[name].write(numbering(codes).astype(_ID, copy=False).data)
            for name in numbers:
                files[name].write(np.ascontiguousarray(values[name], dtype=_NUMBER).data)
    for (name, numbering), tokens in zip(columns.items(), (users, items), strict=True):
        with (folder / f"{name}.tokens").open("w", encoding="utf-8", newline="\n") as text:
            for codes in numbering.order:
                text.writelines(f"{tokens[code]}\n" for code in codes.tolist())
    ids = {name: numbering.count for name, numbering in columns.items()}
    about = {"schema": SCHEMA, "interactions": count, "ids": ids, "numbers": list(numbers)}
    (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


class _Renumbering:
    """Numbers from 1 in the order of first appearance, for ``n`` codes from 0."""

    def __init__(self, n: int) -> None:
        self._numbers = np.zeros(n, dtype=_ID)
        self.order: list[np.ndarray] = []
        self.count = 0

    def __call__(self, codes: np.ndarray) -> NDArray[np.int32]:
        """The numbers of codes ``[k]``; a new code gets the next number."""
        new = pd.unique(codes[self._numbers[codes] == 0])
        if len(new):
            self._numbers[new] = np.arange(self.count + 1, self.count + len(new) + 1)
            self.order.append(new)
            self.count += len(new)
        numbers: NDArray[np.int32] = self._numbers[codes]
        return numbers
