"""LFM-1b: a billion listening events; the plays of an artist become one interaction."""

from __future__ import annotations

import numpy as np

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("gender", "age", "country")


class _LFM1B(Converter):
    def events(self, rows: Rows) -> Events:
        """Each row is one play."""
        artists = rows.texts["artist_id"]
        numbers = {"plays": np.ones(len(artists)), "timestamp": rows.numbers["timestamp"]}
        return Events(rows.texts["user_id"], artists, numbers)


LFM_1B = _LFM1B(
    name="lfm-1b",
    title="LFM-1b: gender, age, country",
    source="Get LFM-1b_users.txt and LFM-1b_LEs.txt from http://www.cp.jku.at/datasets/LFM-1b, if they are offered.",
    interactions=Table(
        ("LFM-1b_LEs.txt",),
        ("user_id", "artist_id", "album_id", "track_id", "timestamp"),
        numbers={"timestamp": Number(0)},
    ),
    users=Table(("LFM-1b_users.txt",), ("user_id", *_FIELDS), header=True),
    fields={name: name for name in _FIELDS},
    merge={"plays": "sum"},
)
