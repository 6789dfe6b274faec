"""The base of converters: what one dataset declares. The steps that all datasets share are in ``pipeline``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from recbole_aia.config.properties import properties_dir
from recbole_aia.config.text import read_yaml
from recbole_aia.data.converters.interactions import TIME, Merge
from recbole_aia.data.converters.table import Rows, Table

#: Which users stay: users with labels of every attacked attribute, of some attacked attribute, or all users.
Labels = Literal["every", "some", "none"]
LABELS: tuple[Labels, ...] = ("every", "some", "none")


@dataclass(frozen=True)
class Events:
    """The interactions in a part of the table of interactions.

    Attributes:
        users: ``[n]`` ids.
        items: ``[n]`` ids.
        numbers: columns ``[n]``: those that the converter's ``merge`` names, and ``timestamp`` if there are times.
        rows: the ``n`` rows that the converter kept; ``None`` if it kept all.
        dropped: number of rows that the converter left out, by reason.
    """

    users: Sequence[str]
    items: Sequence[str]
    numbers: Mapping[str, np.ndarray]
    rows: Rows | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """The raw files of one dataset. A subclass overrides a method where naming columns is not enough.

    Args:
        name: the dataset. The property file of this name defines its attributes.
        title: the full name and the attributes, for help.
        source: a sentence that says where to get the raw files, for messages and help.
        interactions: the table of interactions.
        users: the table of users; ``None`` if the table of interactions holds their attributes.
        fields: the raw column of each attribute, by the attribute's name in the ``.user`` file.
        merge: the columns of numbers in the ``.inter`` file, and how the values of repeated pairs become one.
        user: the column of users in the table of interactions.
        item: the column of items.
        time: the column of times, if there is one.
        key: the column of users in the table of users.
        core: least number of interactions of every user and item that is kept; 1 keeps all.
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
        """The attributes that the property file defines, and the names of the attributes attacked by default."""
        path = properties_dir() / "dataset" / f"{self.name}.yaml"
        values = read_yaml(path)
        return values["attribute_specs"], values["attributes"]

    def check_classes(self, attribute: str, sizes: np.ndarray) -> None:
        """Raises an error if the classes of an attribute, of ``sizes`` users, cannot be meant; by default never."""

    def events(self, rows: Rows) -> Events:
        """The interactions in some rows of the table of interactions."""
        numbers = {name: rows.numbers[name] for name in self.merge}
        if self.time in rows.numbers:
            numbers[TIME] = rows.numbers[self.time]
        return Events(rows.texts[self.user], rows.texts[self.item], numbers)

    def ids(self, rows: Rows) -> Sequence[str]:
        """The users' ids ``[n]`` in some rows of the table of users."""
        return rows.texts[self.key]

    def attributes(self, rows: Rows) -> Mapping[str, list[str]]:
        """The attributes in some rows of the table that holds them: columns ``[n]`` by field."""
        return {field: rows.texts[column] for field, column in self.fields.items()}
