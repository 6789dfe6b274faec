"""KuaiSAR-small: a recommended video that the user clicked is an interaction."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("onehot_feat1", "onehot_feat2")


class _KuaiSAR(Converter):
    def events(self, rows: Rows) -> Events:
        """Leaves out videos without a click, and turns milliseconds into seconds."""
        clicked = rows.numbers["click"] > 0
        kept = rows.where(clicked)
        numbers = {"timestamp": kept.numbers["timestamp"] / 1000}
        dropped = {"not clicked": int((~clicked).sum())}
        return Events(kept.texts["user_id"], kept.texts["item_id"], numbers, kept, dropped)


KUAISAR = _KuaiSAR(
    name="kuaisar",
    title="KuaiSAR-small: two anonymous features",
    source="Get KuaiSAR.zip (the small version) from https://zenodo.org/records/8181109 and unpack it.",
    interactions=Table(
        ("rec_inter.csv",),
        ("user_id", "item_id", "timestamp", "click"),
        ",",
        header=True,
        numbers={"timestamp": Number(1e12, 1e13), "click": Number(0, 1)},
    ),
    users=Table(("user_features.csv",), ("user_id", *_FIELDS), ",", header=True),
    fields={name: name for name in _FIELDS},
)
