"""A converter for any dataset: a table of interactions and a table of users, both with a header."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.interactions import TIME
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.values import Number, Time
from recbole_aia.errors import ConfigValueError, RawDataError

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


@dataclass(frozen=True)
class _Tables(Converter):
    attributes_given: Mapping[str, Any] | None = None

    def specifications(self) -> tuple[Mapping[str, Any], Sequence[str]]:
        """The attributes that the command line names."""
        given = self.attributes_given or {}
        return given, list(given)

    def check_classes(self, attribute: str, sizes: np.ndarray) -> None:
        """Refuses an attribute with a single class: nobody knows yet whether its column is the right one."""
        if (sizes > 0).sum() == 1:
            raise RawDataError(
                f"all users with a value of '{attribute}' are of one class, so there is nothing to infer. Leave the "
                "attribute out, or give it other classes or bins."
            )


def csv_tables(
    name: str,
    interactions: str,
    users: str | None,
    columns: Mapping[str, str | None],
    attributes: Any,
    separator: str = "comma",
    encoding: str = "utf-8",
) -> Converter:
    """Makes a converter for tables whose columns the caller names.

    Args:
        name: the name that the dataset gets.
        interactions: the name of the file of interactions.
        users: the name of the file of users; ``None`` if the interactions hold the attributes.
        columns: the columns of ``user`` and ``item``, and of ``time`` and ``rating`` if the table has them.
        attributes: columns, or a mapping of names to specifications, as in a configuration.
        separator: ``comma``, ``semicolon`` or ``tab``.
        encoding: the encoding of both files.

    Raises:
        ConfigValueError: an argument is not allowed.
    """
    _check_place(name, (interactions, users), encoding)
    listed = [attributes] if isinstance(attributes, str) else attributes
    if not isinstance(listed, list | dict) or not listed or not _are_different_texts(listed):
        raise ConfigValueError(
            f"attributes is {attributes!r}. It must be like [gender,age], each once, or {{age: {{bins: [30]}}}}."
        )
    specs = {entry: (listed[entry] if isinstance(listed, dict) else None) or {} for entry in listed}
    fields = [str(spec.get("field", entry)) if isinstance(spec, dict) else entry for entry, spec in specs.items()]
    _check_columns(fields, columns.get("rating"))
    _check_attributes(specs, fields, columns)
    user, item, time, rating = (columns.get(column) for column in ("user", "item", "time", "rating"))
    needed = [user, item, time, rating, *(fields if users is None else [])]
    numbers: dict[str, Number | Time] = {rating: Number()} if rating else {}
    if time:
        numbers[time] = Time()
    style: dict[str, Any] = {
        "separator": _SEPARATORS[separator], "header": True, "encoding": encoding, "quotes": "doubled"
    }  # fmt: skip
    return _Tables(
        name=name,
        title="any tables",
        source="Give the folder of both files as --raw, and their names.",
        interactions=Table((interactions,), tuple(dict.fromkeys(filter(None, needed))), numbers=numbers, **style),
        users=None if users is None else Table((users,), tuple(dict.fromkeys([str(user), *fields])), **style),
        fields={field: field for field in fields},
        merge={rating: "last"} if rating else {},
        user=str(user),
        item=str(item),
        time=time or "",
        key=str(user),
        core=1,
        labels="none",
        attributes_given=specs,
    )


def _are_different_texts(entries: Collection[Any]) -> bool:
    return all(isinstance(entry, str) for entry in entries) and len(set(entries)) == len(entries)


def _check_place(name: str, files: Sequence[str | None], encoding: str) -> None:
    if not name.strip(".") or not all(character.isalnum() or character in "-_." for character in name):
        raise ConfigValueError(f"name is {name!r}. It must consist of letters, digits, '-', '_' and '.'.")
    for file in files:
        if file is not None and (not file or Path(file).is_absolute() or ".." in Path(file).parts):
            raise ConfigValueError(f"a file is {file!r}. Name one in the folder --raw.")
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ConfigValueError(f"encoding is {encoding!r}, which is not known. Write utf-8 or latin-1, say.") from error


def _check_attributes(names: Iterable[str], fields: Iterable[str], columns: Mapping[str, str | None]) -> None:
    """Refuses attributes that are called like a column of interactions, or that are the users or the items."""
    for name, field in zip(names, fields, strict=True):
        role = next((role for role in ("user", "item") if field == columns.get(role)), None)
        if role is not None:
            raise ConfigValueError(f"the attribute '{name}' is the column of {role}s itself. Name another column.")
        if name in ("user_id", "item_id", TIME):
            raise ConfigValueError(f"an attribute is called '{name}', as a column of interactions is. Rename it.")


def _check_columns(fields: Sequence[str], rating: str | None) -> None:
    """Refuses column names that atomic files cannot hold, and names that they use for other columns."""
    names = [(field, {"user_id"}) for field in fields]
    names += [(rating, {"user_id", "item_id", TIME})] if rating else []
    for name, taken in names:
        if not name.strip() or name in taken or set(name) & set(":\t\r\n"):
            raise ConfigValueError(
                f"a column is called {name!r}, which means something else in RecBole's files. Rename it in the header."
            )
