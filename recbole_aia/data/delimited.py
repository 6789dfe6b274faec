"""Helpers of the readers of matrices and labels: headers, columns of users, and errors."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_aia.config.text import refuse_special
from recbole_aia.errors import AttributeDataError

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_USER_COLUMNS = ("user", "userid", "uid", "usertoken", "id")


def text_encoding(path: Path, declared: str | None = None) -> str:
    """The encoding of a text file: what its byte order mark says, or else what is declared, or else UTF-8.

    Raises:
        AttributeDataError: the file is a pipe or a device.
    """
    refuse_special(path)
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _BOMS.items() if start.startswith(mark)), declared or "utf-8")


@contextmanager
def check_decodes(path: Path, declared: str | None = None, more: str = "") -> Iterator[None]:
    """Turns a byte that the encoding does not have into an error that says where it is and what to do.

    Args:
        path: the file.
        declared: its encoding by the configuration; ``None`` for UTF-8.
        more: what can be done besides saving the file as UTF-8.
    """
    try:
        yield
    except UnicodeError as error:
        encoding = text_encoding(path, declared)
        raise AttributeDataError(
            f"'{path}' cannot be read: it is not {encoding} text{_first_wrong_line(path, encoding)}. Save it as "
            f"UTF-8{more}."
        ) from error


def _first_wrong_line(path: Path, encoding: str) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return f" (line {number})" if not encoding.startswith(("utf-16", "utf-32")) else ""
    return ""


def header_of(path: Path) -> tuple[list[str], str]:
    """The names in the first line, without types such as ``:token``, and the separator between them."""
    with path.open(encoding=text_encoding(path)) as file, check_decodes(path):
        line = file.readline().rstrip("\r\n")
    separator = max("\t,;", key=line.count)
    return [re.sub(r":(token|float)(_seq)?$", "", name.strip().strip('"')) for name in line.split(separator)], separator


def read_table(path: Path, *, header: bool = True) -> pd.DataFrame:
    """Reads text with commas, semicolons or tabs into columns of texts.

    Args:
        path: the file.
        header: whether the first line has the names; otherwise columns are called ``0``, ``1`` and so on.

    Raises:
        AttributeDataError: a line has more values than the first, the header is not usable, or a value holds a
            character that does not print, such as NUL or the end of a line.
    """
    return next(_tables(path, header=header, lines=None))


def table_parts(path: Path, lines: int) -> Iterator[pd.DataFrame]:
    """Reads a table with a header as :func:`read_table` does, ``lines`` at a time; see there."""
    return _tables(path, header=True, lines=lines)


def _tables(path: Path, *, header: bool, lines: int | None) -> Iterator[pd.DataFrame]:
    names, separator = header_of(path)
    if names == [""]:
        raise AttributeDataError(f"'{path}' cannot be read: it is empty, or begins with an empty line.")
    if len(names) == 1 and "|" in names[0]:
        raise AttributeDataError(f"'{path}' separates its columns by bars (|). Write commas, semicolons or tabs.")
    if lines is None:
        _refuse_nul(path)  # a part is too large a file to be read twice: the values are looked at alone
    columns = names if header else [str(place) for place in range(len(names))]
    with check_decodes(path):
        try:
            found: Any = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding=text_encoding(path),
                header=0 if header else None, chunksize=lines,
            )  # fmt: skip
            for frame in [found] if lines is None else found:
                yield _checked(path, frame, columns)
        except pd.errors.ParserError as error:
            row = re.search(r"EOF inside string starting at row (\d+)", str(error))
            if row is None:
                raise
            raise AttributeDataError(f"'{path}' has a quote in row {row[1]} that is not closed. Remove it.") from error


def _checked(path: Path, frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table with these names of columns, if its values are texts of one line."""
    if len(frame.columns) != len(columns) or not isinstance(frame.index, pd.RangeIndex):
        raise AttributeDataError(f"'{path}' has lines with more values than its header has names. Mend the file.")
    frame = frame.fillna("")
    frame.columns = pd.Index(columns)
    if frame.columns.has_duplicates or "" in frame.columns[1:]:
        raise AttributeDataError(f"'{path}' has columns without a name or of the same name. Mend the header.")
    for name in frame.columns:
        odd = frame[name].str.contains(r"[\x00-\x08\x0a-\x1f]", regex=True).to_numpy(bool)
        if odd.any():
            raise AttributeDataError(
                f"'{path}' has a value in row {int(np.asarray(frame.index)[odd.argmax()]) + 1} of the column '{name}' "
                "that is no text of one line. Is a quote not closed, or the file damaged?"
            )
    return frame


def _refuse_nul(path: Path) -> None:
    """Raises :class:`AttributeDataError` if a line holds a NUL, where some versions of pandas end a value."""
    with path.open(encoding=text_encoding(path)) as file, check_decodes(path):
        for number, line in enumerate(file, start=1):
            if "\0" in line:
                raise AttributeDataError(f"line {number} of '{path}' holds a NUL character. Is the file damaged?")


def user_column(names: list[str]) -> str | None:
    """The column whose name, such as ``user_id``, says that it holds users; ``None`` if there is no such column."""
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    return next((names[plain.index(known)] for known in _USER_COLUMNS if known in plain), None)


def refuse_repeated(path: Path, tokens: np.ndarray | None) -> None:
    """Raises :class:`AttributeDataError` if a user occurs twice in a file, blanks around a name aside."""
    if tokens is None:
        return
    names = np.char.strip(tokens)
    repeated = np.flatnonzero(pd.Series(names).duplicated())
    if len(repeated):
        first = np.flatnonzero(names == names[repeated[0]])[0]
        raise AttributeDataError(
            f"rows {first + 1} and {repeated[0] + 1} of '{path}' name the same user. Keep one row a user."
        )


def unreadable(path: Path, error: Exception) -> AttributeDataError:
    """Turns any error from reading a file into an error of one line."""
    if isinstance(error, OSError) and error.strerror:
        return AttributeDataError(f"'{path}' cannot be read: {error.strerror}. Check the path.")
    reason = (str(error).strip().splitlines() or ["damaged"])[0]
    return AttributeDataError(f"'{path}' cannot be read: {reason}. Is it damaged, or of another kind?")
