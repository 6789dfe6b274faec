"""The formats of raw files; reads and checks their rows."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np

from recbole_aia.data.converters.lines import Block, blocks
from recbole_aia.data.converters.split import Columns, UndecodableError, json_lines, plain, quoted
from recbole_aia.data.converters.values import Moment, Number, Time
from recbole_aia.errors import RawDataError

# A file with more than 10 malformed rows plus 5 % of its rows is taken for a file of another kind.
_FEW, _SHARE = 10, 0.05
_EXAMPLES = 5  # malformed rows that are kept as examples


@dataclass(frozen=True)
class Table:
    """The format of a raw file.

    Args:
        files: names that the file can have, ``*`` for any text.
        columns: all columns in their order if there is no header; otherwise the needed columns.
        separator: the text between values; ``JSON`` for one JSON object in each line.
        header: whether the first line names the columns.
        encoding: the encoding of the texts.
        quotes: whether values can stand in double quotes, and how a quote inside such a value is written.
        free: the column whose texts can hold separators, in a file without quotes.
        numbers: the columns of numbers or times. A row with any other value there is malformed.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    separator: str = "\t"
    header: bool = False
    encoding: str = "utf-8"
    quotes: Literal["none", "doubled", "backslash"] = "none"
    free: str = ""
    numbers: Mapping[str, Number | Moment | Time] = field(default_factory=dict)


JSON = "JSON"


@dataclass(frozen=True)
class Rows:
    """Some well-formed rows of a file.

    Attributes:
        texts: columns of texts ``[n]``.
        numbers: columns of numbers ``[n]``, float64; ``NaN`` for a missing optional number.
        lines: ``[n]`` the number of each row's line.
    """

    texts: Mapping[str, list[str]]
    numbers: Mapping[str, np.ndarray]
    lines: np.ndarray

    def where(self, mask: np.ndarray) -> Rows:
        """The rows that a mask selects."""
        if mask.all():
            return self
        kept = mask.tolist()
        texts = {name: list(compress(column, kept)) for name, column in self.texts.items()}
        return Rows(texts, {name: column[mask] for name, column in self.numbers.items()}, self.lines[mask])


class TableFile:
    """Reads a raw file once, and counts what was wrong with it.

    Args:
        table: the format of the file.
        path: the file.

    Attributes:
        rows: number of rows read so far, malformed rows included; the header is not a row.
        malformed: number of malformed rows by reason.
        examples: descriptions of the first malformed rows.
        repaired: number of rows that had separators inside a text.
    """

    def __init__(self, table: Table, path: Path) -> None:
        self.table, self.path = table, path
        self.rows = self.repaired = 0
        self.malformed: Counter[str] = Counter()
        self.examples: list[str] = []
        self._names = list(table.columns)

    def __iter__(self) -> Iterator[Rows]:
        """Reads the file, part by part.

        Raises:
            RawDataError: the file is damaged, lacks a column, or has another format.
        """
        begun = not self.table.header
        for block in blocks(self.path, multiline=self.table.quotes == "doubled"):
            rest = block if begun else self._without_header(block)
            begun = True
            try:
                columns = self._split(rest)
            except UndecodableError as error:
                raise RawDataError(
                    f"'{self.path}', line {error.line}: the text is not {self.table.encoding}. "
                    "Are encodings mixed? Download the file again, or convert this line."
                ) from error
            yield self._checked(columns)
        if self.rows and self.malformed.total() == self.rows:
            raise self._of_another_kind()
        if not self.rows:
            what = "no rows follow the header" if self.table.header else "the file is empty"
            raise RawDataError(f"'{self.path}', line 1: {what}. Download it again.")

    def _split(self, block: Block) -> Columns:
        table = self.table
        if table.separator == JSON:
            return json_lines(block, table.columns, table.encoding)
        wanted = [self._names.index(name) for name in table.columns]
        if table.quotes != "none":
            backslash = table.quotes == "backslash"
            return quoted(block, len(self._names), wanted, table.separator, table.encoding, backslash)
        free = self._names.index(table.free) if table.free else None
        return plain(block, len(self._names), wanted, table.separator, table.encoding, free)

    def _without_header(self, block: Block) -> Block:
        first, _, rest = block.data.partition(b"\n")
        self._names = header_names(first, self.table)
        missing = [name for name in self.table.columns if name not in self._names]
        repeated = [name for name in self.table.columns if self._names.count(name) > 1]
        where = f"'{self.path}', line 1"
        if missing:
            raise RawDataError(
                f"{where}: there is no column '{missing[0]}' in the header, which has {', '.join(self._names)[:200]}. "
                f"Is it the right file, with '{self.table.separator}' between the values?".replace("\t", "\\t")
            )
        if repeated:
            raise RawDataError(f"{where}: the header has the column '{repeated[0]}' more than once. Mend it.")
        return Block(rest, block.line + 1)

    def _checked(self, columns: Columns) -> Rows:
        table = self.table
        self.rows += len(columns.lines) + len(columns.malformed)
        self.repaired += columns.repaired
        for line, what in columns.malformed:
            self._note(line, what)
        rows = Rows(dict(zip(table.columns, columns.texts, strict=True)), {}, columns.lines)
        if table.header:
            self._refuse_second_header(rows)
        good = np.ones(len(rows.lines), bool)
        numbers = {}
        for name, kind in table.numbers.items():
            numbers[name] = kind.parse(rows.texts[name])
            bad = np.isnan(numbers[name]) & good
            if kind.optional or not bad.any():
                continue
            for k in np.flatnonzero(bad).tolist():
                value = rows.texts[name][k][:40]
                self._note(int(rows.lines[k]), f"{name} is not {kind.expected}", f", but {value!r}")
            good &= ~bad
        if self.malformed.total() > _FEW + _SHARE * self.rows:
            raise self._of_another_kind()
        return Rows(rows.texts, numbers, rows.lines).where(good)

    def _note(self, line: int, what: str, detail: str = "") -> None:
        self.malformed[what] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"line {line}: {what}{detail}")

    def _refuse_second_header(self, rows: Rows) -> None:
        first = self.table.columns[0]
        if first not in rows.texts[first]:
            return
        k = rows.texts[first].index(first)
        if all(column[k] == name for name, column in rows.texts.items()):
            raise RawDataError(
                f"'{self.path}', line {rows.lines[k]}: the header stands here again. Were two files put together? "
                "Take one of the headers out."
            )

    def _of_another_kind(self) -> RawDataError:
        wrong = self.malformed.total()
        line, _, what = self.examples[0].partition(": ")
        separator = self.table.separator.replace("\t", "\\t")
        return RawDataError(
            f"'{self.path}', {line}: {what}, and {wrong:,} of {self.rows:,} rows are malformed. "
            f"Is it the right file, with '{separator}' between the values, and no column swapped?"
        )


def header_names(line: bytes, table: Table) -> list[str]:
    """The names of the columns in a header line, without quotes."""
    text = line.rstrip(b"\r").decode(table.encoding, errors="replace")
    names = next(csv.reader([text], delimiter=table.separator), []) if '"' in text else text.split(table.separator)
    return [name.strip() for name in names]
