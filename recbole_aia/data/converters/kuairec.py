"""KuaiRec, the big matrix: a video that the user watched to its end is an interaction."""

from __future__ import annotations

import numpy as np

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("gender", "age_range")


class _KuaiRec(Converter):
    def events(self, rows: Rows) -> Events:
        """Leaves out videos that were not watched to the end, and rows without a time."""
        watched, timed = rows.numbers["watch_ratio"] >= 1, ~np.isnan(rows.numbers["timestamp"])
        kept = rows.where(watched & timed)
        dropped = {"not watched to the end": int((~watched).sum()), "without a time": int((watched & ~timed).sum())}
        numbers = {"timestamp": kept.numbers["timestamp"]}
        return Events(kept.texts["user_id"], kept.texts["video_id"], numbers, kept, dropped)


KUAIREC = _KuaiRec(
    name="kuairec",
    title="KuaiRec, the big matrix: gender, age range",
    source="Get KuaiRec.zip and user_features_raw.csv from https://zenodo.org/records/18164998 and unpack them.",
    interactions=Table(
        ("big_matrix.csv",),
        ("user_id", "video_id", "timestamp", "watch_ratio"),
        ",",
        header=True,
        numbers={"timestamp": Number(0, optional=True), "watch_ratio": Number(0)},
    ),
    users=Table(("user_features_raw.csv",), ("user_id", *_FIELDS), ",", header=True, quotes="doubled"),
    fields={name: name for name in _FIELDS},
    labels="some",
)
