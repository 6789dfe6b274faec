"""The gender subset of LFM-2b: plays of tracks. A user's id is the row number in the table of users, from 0."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("gender", "age", "country")


class _LFM2B(Converter):
    def ids(self, rows: Rows) -> Sequence[str]:
        """The line numbers less one. Malformed lines count too, so that no user gets another user's labels."""
        return [str(line - 1) for line in rows.lines.tolist()]


LFM_2B = _LFM2B(
    name="lfm-2b",
    title="LFM-2b, the gender subset: gender, age, country",
    source="The authors of the gender-fairness study of LFM-2b distribute it: an inter and a demo table.",
    interactions=Table(
        ("inter.tsv", "*inter*.tsv", "*inter*.txt"), ("user_id", "item_id", "plays"), numbers={"plays": Number(0)}
    ),
    users=Table(("demo.tsv", "*demo*.tsv", "*demo*.txt"), ("user_name", "country", "age", "gender", "timestamp")),
    fields={name: name for name in _FIELDS},
    merge={"plays": "sum"},
)
