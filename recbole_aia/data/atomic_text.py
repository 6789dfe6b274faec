"""Checks RecBole's atomic files line by line, before RecBole reads them.

RecBole's reader takes a line with too few values as one with missing values, and a line with too many as one whose
first value is no value. Both shift people's data without a word.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from recbole_aia.data.delimited import check_decodes, text_encoding
from recbole_aia.errors import AttributeDataError, shown

#: What else can be done about a file of a dataset that does not decode.
SET_ENCODING = ", or set its encoding, such as --encoding=gbk"
_TYPES = ("token", "token_seq", "float", "float_seq")
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "blanks"}


@contextmanager
def _opened(path: Path, config: Any) -> Iterator[TextIO]:
    declared = config["encoding"]
    with path.open(encoding=text_encoding(path, declared)) as file, check_decodes(path, declared, SET_ENCODING):
        yield file


def atomic_header(path: Path, config: Any, *, typed: bool = True) -> dict[str, str]:
    """The types of a file's columns by name.

    Args:
        path: the file.
        config: a configuration with ``field_separator`` and ``encoding``.
        typed: whether every column must have a type. Where only texts are read, a column without one is a token.

    Raises:
        AttributeDataError: the first line is not a header of RecBole's atomic files.
    """
    separator = config["field_separator"] or "\t"
    with (
        path.open(encoding=text_encoding(path, config["encoding"])) as file,
        check_decodes(path, config["encoding"], SET_ENCODING),
    ):
        line = file.readline().rstrip("\r\n")
    if not line:
        raise AttributeDataError(
            f"'{path}' cannot be read: it is empty. Write a header such as user_id:token, and a line for each row."
        )
    cells = line.split(separator)
    if len(cells) == 1 and (other := next((each for each in _SEPARATORS if each in line and each != " "), None)):
        expected = _SEPARATORS.get(separator, shown(separator))
        raise AttributeDataError(
            f"'{path}' separates its columns by {_SEPARATORS[other]}, and {expected} are expected. Set "
            f"field_separator: '--field_separator=\"{other if other != chr(9) else chr(92) + 't'}\"'."
        )
    columns: dict[str, str] = {}
    for cell in cells:
        name, _, kind = cell.partition(":")
        kind = kind or ("" if typed else "token")
        if kind not in _TYPES or not name.strip():
            raise AttributeDataError(
                f"the header of '{path}' has {shown(cell)}. Write each column as name:type, such as user_id:token; "
                f"types are {', '.join(_TYPES)}."
            )
        if name in columns:
            raise AttributeDataError(f"the header of '{path}' has the column '{name}' twice. Rename one.")
        columns[name] = kind
    return columns


def check_lines(path: Path, config: Any) -> None:
    """Raises :class:`AttributeDataError` if a line has another number of values than the header, or a NUL.

    Args:
        path: the file.
        config: a configuration with ``field_separator`` and ``encoding``.
    """
    separator = config["field_separator"] or "\t"
    with (
        path.open(encoding=text_encoding(path, config["encoding"])) as file,
        check_decodes(path, config["encoding"], SET_ENCODING),
    ):
        expected = file.readline().count(separator)
        for number, line in enumerate(file, start=2):
            if "\0" in line:
                raise AttributeDataError(f"line {number} of '{path}' holds a NUL character. Is the file damaged?")
            found = line.count(separator)
            if '"' in line:
                found = _quoted_separators(path, number, line, separator)
            if found != expected and line.strip():
                raise AttributeDataError(
                    f"line {number} of '{path}' has {found + 1} columns, and the header has {expected + 1}. Mend the "
                    "line."
                )


def refuse_texts(path: Path, config: Any) -> None:
    """Raises :class:`AttributeDataError` if a column of numbers holds something else; names the first such line."""
    kinds, separator = list(atomic_header(path, config).items()), config["field_separator"] or "\t"
    with _opened(path, config) as file:
        for number, cells in enumerate(csv.reader(file, delimiter=separator), start=1):
            for (name, kind), cell in zip(kinds, cells, strict=False):
                if kind == "float" and number > 1 and not _is_number(cell):
                    raise AttributeDataError(
                        f"line {number} of '{path}' has {shown(cell)} as '{name}', which the header declares as float. "
                        "Mend the line or the header."
                    )


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _quoted_separators(path: Path, number: int, line: str, separator: str) -> int:
    """The number of separators outside of quotes."""
    try:
        return len(next(csv.reader([line], delimiter=separator, strict=True))) - 1
    except csv.Error as error:
        raise AttributeDataError(
            f"line {number} of '{path}' begins a value with a quote (\") and does not end it with one, which "
            "would take the next lines along. Remove the quote."
        ) from error


def check_roles(path: Path, columns: Mapping[str, str], config: Any, hidden: Collection[str]) -> None:
    """Refuses interactions without users or items, or with ids or times of a type that cannot be read.

    Args:
        path: the ``.inter`` file.
        columns: its types by column.
        config: the configuration that names the columns.
        hidden: the columns that ``load_col`` or ``unload_col`` hide.

    Raises:
        AttributeDataError: a column is missing or has another type.
    """
    for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
        name = config[key]
        if name not in columns:
            raise AttributeDataError(
                f"'{path}' has no column '{name}', only {', '.join(columns)}. Name the right one: --{key}=NAME."
            )
        if columns[name] != "token":
            raise AttributeDataError(f"'{path}' declares '{name}' as {columns[name]}. Write {name}:token.")
        if name in hidden:
            raise AttributeDataError(f"load_col or unload_col hide '{name}' of '{path}'. Add it to load_col.inter.")
    time = config["TIME_FIELD"]
    if columns.get(time, "float") != "float":
        raise AttributeDataError(f"'{path}' declares the times '{time}' as {columns[time]}. Write {time}:float.")
