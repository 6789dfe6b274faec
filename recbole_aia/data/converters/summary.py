"""The account of what was read, dropped and kept: a table to print, and JSON beside the data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from texttable import Texttable

from recbole_aia.config.small import shown_count
from recbole_aia.data.converters.table import TableFile

SCHEMA = "recbole-aia-prepare/1"


@dataclass
class Summary:
    """The account of a preparation: every row that was read is malformed, dropped, or kept.

    Attributes:
        dataset: the dataset's name.
        options: the options that were used.
        files: for each file, its rows, malformed rows by reason with examples, and repaired rows.
        dropped: number of interactions that each rule dropped, in the order of the rules.
        absent: number of users in the table of users without an interaction left.
        kept: number of interactions, users and items.
        attributes: for each attribute, users by class, missing users, and users whom each rule affected.
        raw: for each attribute, users without a label and users whom each rule affected, before any filter.
        conflicts: for each column, users with several values and users without a majority, before any filter.
        escaped: number of users' and items' ids that were escaped; see :func:`tokens.written`.
    """

    dataset: str
    options: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    absent: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    raw: dict[str, dict[str, int]] = field(default_factory=dict)
    conflicts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    escaped: dict[str, int] = field(default_factory=dict)

    def read(self, file: TableFile) -> None:
        """Adds the counts of a file that has been read to its end."""
        self.files[file.path.name] = {
            "rows": file.rows,
            "malformed": dict(file.malformed),
            "examples": file.examples,
            "repaired": file.repaired,
        }

    def to_json(self) -> str:
        """The account as JSON; equal data give equal text."""
        values = {
            "schema": SCHEMA,
            "dataset": self.dataset,
            "options": self.options,
            "files": self.files,
            "dropped": dict(self.dropped),
            "users_without_interactions": self.absent,
            "kept": self.kept,
            "attributes": self.attributes,
            "raw": self.raw,
            "conflicts": self.conflicts,
            "escaped_ids": self.escaped,
        }
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"

    def text(self) -> str:
        """Two tables as text: the counts of rows, and the classes of the attributes."""
        rows = []
        for name, file in self.files.items():
            rows.append((f"{name}: rows read", file["rows"]))
            rows += [(f"{name}: malformed, {reason}", count) for reason, count in file["malformed"].items()]
            rows += [(f"{name}: repaired, a separator inside a text", file["repaired"])] * bool(file["repaired"])
        rows += [(f"dropped, {rule}", count) for rule, count in self.dropped.items()]
        rows += [("users without interactions", self.absent)] * bool(self.absent)
        rows += [(f"kept: {what}", count) for what, count in self.kept.items()]
        rows += [(f"ids of {what} written in another way", count) for what, count in self.escaped.items() if count]
        table = _table(["", "number"], "lr")
        table.add_rows([(what, f"{count:,}") for what, count in rows], header=False)
        return "\n".join([str(table.draw()), *([str(self._attribute_table().draw())] if self.attributes else [])])

    def _attribute_table(self) -> Texttable:
        table = _table(["attribute", "classes", "missing", "affected", "before the filters"], "llrll")
        users = max(self.kept.get("users", 0), 1)
        for name, entry in self.attributes.items():
            before = {**self.raw[name], **_prefixed("conflicting ", entry.get("conflicts", {}))}
            table.add_row(
                [
                    name,
                    _classes(entry.get("classes", {})),
                    f"{entry['missing']:,} ({entry['missing'] / users:.1%})",
                    _counts(entry.get("affected", {})),
                    _counts(before),
                ]
            )
        return table


def _prefixed(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {prefix + name: count for name, count in counts.items()}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in counts.items() if count)


def _classes(classes: Mapping[str, int]) -> str:
    sizes = [(name, shown_count(size)) for name, size in list(classes.items())[:12]]
    shown = [f"{name} {size}" if isinstance(size, str) else f"{name} {size:,}" for name, size in sizes]
    return ", ".join(shown) + (f", and {len(classes) - 12} more" if len(classes) > 12 else "")


def _table(header: list[str], align: str) -> Texttable:
    table = Texttable(max_width=118)
    table.set_deco(Texttable.BORDER | Texttable.HEADER)
    table.set_cols_dtype(["t"] * len(header))
    table.set_cols_align(list(align))
    table.set_header_align(list(align))
    table.header(header)
    return table
