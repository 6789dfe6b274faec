"""Splits blocks of a raw file into columns of texts: plain separators, quotes, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_aia.data.converters.lines import Block

# Stands for a separator inside a text while the line is split. A line that has this byte already is not mended.
_HELD = b"\x1e"
_ALL = bytes(range(256))
# pandas' reader gives these bytes a meaning: line end, end of text, byte order mark.
_SPECIAL = (b"\r", b"\0", b"\xef\xbb\xbf")


class Columns(NamedTuple):
    """The rows of a block.

    Attributes:
        texts: the wanted columns, ``[n_wanted][n]``.
        lines: ``[n]`` the number of each row's first line.
        malformed: each line that is not a row, and the reason.
        repaired: number of rows that had separators inside a text.
    """

    texts: list[list[str]]
    lines: np.ndarray
    malformed: list[tuple[int, str]]
    repaired: int = 0


class UndecodableError(Exception):
    """The file holds bytes that its encoding does not allow.

    Args:
        line: the line of these bytes.
    """

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def plain(
    block: Block, width: int, wanted: Sequence[int], separator: str, encoding: str, free: int | None = None
) -> Columns:
    """Splits lines at every separator; there are no quotes.

    Args:
        block: whole lines.
        width: the number of columns.
        wanted: the columns to return.
        separator: one character or more.
        encoding: the encoding of the texts.
        free: the column whose texts may hold the separator. A line with too many values has the surplus there.
    """
    data, mark = block.data, separator.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if len(mark) > 1:
        # A single byte stands for the separator. A line that holds this byte already gets too many values: malformed.
        data, mark = data.replace(mark, b"\x1f"), b"\x1f"
    lines = np.arange(block.line, block.line + data.count(b"\n"))
    marks = data.translate(None, _ALL.translate(None, mark + b"\n"))
    if width > 1 and marks == (mark * (width - 1) + b"\n") * lines.size:
        return Columns(_columns(data, width, wanted, mark, encoding, lines), lines, [])
    return _well_formed(data, lines, width, wanted, mark, separator, encoding, free)


def _well_formed(
    data: bytes, lines: np.ndarray, width: int, wanted: Sequence[int], mark: bytes, separator: str, encoding: str,
    free: int | None,
) -> Columns:  # fmt: skip
    """Keeps the lines with ``width`` values and the lines that can be mended; all other lines are malformed."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(bytes_ == ord("\n"))
    lengths = np.diff(ends, prepend=-1) - 1
    values = np.diff(np.searchsorted(np.flatnonzero(bytes_ == mark[0]), ends), prepend=0) + 1
    good = (values == width) & (lengths > 0)
    all_lines = data.split(b"\n")
    mended = np.zeros_like(good)
    if free is not None:
        mended = (values > width) & ~np.fromiter((_HELD in line for line in all_lines[:-1]), bool, good.size)
        for k in np.flatnonzero(mended).tolist():
            parts = all_lines[k].split(mark)
            after = len(parts) - (width - free - 1)
            all_lines[k] = mark.join([*parts[:free], _HELD.join(parts[free:after]), *parts[after:]])
    kept = good | mended
    malformed = [
        (int(lines[k]), f"{values[k]} value{'s' if values[k] > 1 else ''} instead of {width}")
        for k in np.flatnonzero(~kept & (lengths > 0))
    ]
    body = b"".join(line + b"\n" for line in compress(all_lines, kept.tolist()))
    texts = _columns(body, width, wanted, mark, encoding, lines[kept])
    if free is not None and free in wanted:
        column = texts[list(wanted).index(free)]
        for k in np.flatnonzero(mended[kept]).tolist():
            column[k] = column[k].replace(_HELD.decode(), separator)
    return Columns(texts, lines[kept], malformed, int(mended.sum()))


def quoted(block: Block, width: int, wanted: Sequence[int], separator: str, encoding: str, backslash: bool) -> Columns:
    """Splits records whose values can stand in double quotes.

    Args:
        block: whole records.
        width: the number of columns.
        wanted: the columns to return.
        separator: one character.
        encoding: the encoding of the texts.
        backslash: true if a backslash escapes a quote inside a value, and every line is a record; false if a quote
            inside a value is doubled, and a value can hold line ends.
    """
    if b'"' not in block.data:
        return plain(block, width, wanted, separator, encoding)
    text = _text(block.data, encoding, np.arange(block.line, block.line + block.data.count(b"\n") + 1))
    records, lines = _records(text, block.line, multiline=not backslash)
    style: dict[str, Any] = {"delimiter": separator, "doublequote": not backslash, "strict": True}
    if backslash:
        style["escapechar"] = "\\"
    rows, good, malformed = [], [], []
    for row, line in zip(_parsed(records, style), lines, strict=True):
        if isinstance(row, str):
            malformed.append((line, row))
        elif len(row) == width:
            rows.append(row)
            good.append(line)
        elif row:
            malformed.append((line, f"{len(row)} value{'s' if len(row) > 1 else ''} instead of {width}"))
    texts = [[row[k] for row in rows] for k in wanted]
    return Columns(texts, np.array(good, np.int64), malformed)


def json_lines(block: Block, names: Sequence[str], encoding: str) -> Columns:
    """Reads one JSON object from each line.

    A string stays as it is, an absent key and null become the empty text, and any other value becomes its JSON text.
    """
    lines_ = np.arange(block.line, block.line + block.data.count(b"\n") + 1)
    rows, good, malformed = [], [], []
    for line, text in enumerate(_text(block.data, encoding, lines_).split("\n"), block.line):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError:
            record = None
        if isinstance(record, dict):
            rows.append([_plain_text(record.get(name)) for name in names])
            good.append(line)
        else:
            malformed.append((line, "no JSON object"))
    return Columns([[row[k] for row in rows] for k in range(len(names))], np.array(good, np.int64), malformed)


def _plain_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _text(data: bytes, encoding: str, lines: np.ndarray) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UndecodableError(int(lines[data.count(b"\n", 0, error.start)])) from error


def _columns(
    data: bytes, width: int, wanted: Sequence[int], mark: bytes, encoding: str, lines: np.ndarray
) -> list[list[str]]:
    """The wanted columns of lines that have exactly ``width`` values each."""
    separator = mark.decode()
    if encoding == "utf-8" and data and not any(special in data for special in _SPECIAL):
        # pandas makes one object of equal texts, which is faster than the plain way below.
        with suppress(UnicodeDecodeError):
            frame = pd.read_csv(
                BytesIO(data), sep=separator, header=None, quoting=csv.QUOTE_NONE, dtype=object, na_filter=False,
                usecols=list(wanted), low_memory=False,
            )  # fmt: skip
            return [frame[k].tolist() for k in wanted]
    values = _text(data, encoding, lines).replace("\n", separator).split(separator)
    values.pop()
    return [values[k::width] for k in wanted]


def _records(text: str, line: int, multiline: bool) -> tuple[list[str], list[int]]:
    """The records of a text, each without its last line end, and the number of each record's first line."""
    parts = text.split("\n")
    parts.pop()
    if not multiline:
        return parts, list(range(line, line + len(parts)))
    records, lines, pending = [], [], []
    marks = 0
    for number, part in enumerate(parts, line):
        pending.append(part)
        marks += part.count('"')
        if marks % 2 == 0:
            records.append("\n".join(pending))
            lines.append(number + 1 - len(pending))
            pending, marks = [], 0
    return records, lines


def _parsed(records: list[str], style: dict[str, Any]) -> Iterator[list[str] | str]:
    """For each record its values, or a text that says what is wrong with it."""
    try:
        rows = list(csv.reader(records, **style))
    except csv.Error:
        rows = []
    # An unbalanced quote swallows the records after it. The records of such a block are read one by one.
    if len(rows) == len(records):
        yield from rows
        return
    for record in records:
        try:
            yield next(csv.reader([record], **style), [])
        except csv.Error as error:
            yield f"a quote that does not fit ({error})"
