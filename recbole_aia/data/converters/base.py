"""What a dataset's converter says of it; everything else is common to all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from recbole_aia.config.properties import properties_dir
from recbole_aia.config.text import read_yaml
from recbole_aia.data.converters.interactions import TIME, Merge
from recbole_aia.data.converters.table import Rows, Table

#: Which users stay: those with a label for every attribute that is attacked, for some of them, or all users.
Labels = Literal["every", "some", "none"]
LABELS: tuple[Labels, ...] = ("every", "some", "none")


@dataclass(frozen=True)
class Events:
    """Interactions of some rows.

    Attributes:
        users: ``[n]`` ids.
        items: ``[n]`` ids.
        numbers: columns ``[n]``, those that the converter's ``merge`` names, and ``timestamp`` where there are times.
        rows: ``[n]`` the rows they are of, where the converter left some out; ``None`` for all.
        dropped: rows that the converter left out, by reason.
    """

    users: Sequence[str]
    items: Sequence[str]
    numbers: Mapping[str, np.ndarray]
    rows: Rows | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """A dataset in its raw files. A subclass overrides what is not only a matter of columns.

    Args:
        name: the dataset, which has a property file of that name; its attributes are read there.
        title: the dataset's name in full, and its attributes.
        source: where to get the raw files, a sentence for messages and help.
        interactions: the table of interactions.
        users: the table of users; ``None`` where the interactions hold their attributes.
        fields: the columns of attributes, by their names in the ``.user`` file.
        merge: the columns of numbers in the ``.inter`` file, and how those of repeated pairs become one.
        user: the column of users in the interactions.
        item: the column of items.
        time: the column of times, where there is one.
        key: the column of users in the table of users.
        core: the interactions that every user and item that is kept has at least; 1 keeps all.
        labels: which users stay.
    """

    name: str
    title: str
    source: str
    interactions: Table
    users: Table | None
    fields: Mapping[str, str]
    merge: Mapping[str, Merge] = field(default_factory=dict)
    user: str = "user_id"
    item: str = "item_id"
    time: str = TIME
    key: str = "user_id"
    core: int = 5
    labels: Labels = "every"

    def specifications(self) -> tuple[Mapping[str, Any], Sequence[str]]:
        """The attributes that the property file defines, and the names of those that are attacked by default."""
        path = properties_dir() / "dataset" / f"{self.name}.yaml"
        values = read_yaml(path)
        return values["attribute_specs"], values["attributes"]

    def events(self, rows: Rows) -> Events:
        """The interactions of some rows of the table of interactions."""
        numbers = {name: rows.numbers[name] for name in self.merge}
        if self.time in rows.numbers:
            numbers[TIME] = rows.numbers[self.time]
        return Events(rows.texts[self.user], rows.texts[self.item], numbers)

    def ids(self, rows: Rows) -> Sequence[str]:
        """The users ``[n]`` of some rows of the table of users."""
        return rows.texts[self.key]

    def attributes(self, rows: Rows) -> Mapping[str, list[str]]:
        """The attributes, columns ``[n]`` by field, of some rows of the table that holds them."""
        return {field: rows.texts[column] for field, column in self.fields.items()}
