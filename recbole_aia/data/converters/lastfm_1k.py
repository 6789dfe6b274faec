"""Last.fm-1K: every listening event of 992 users; the plays of an artist become one interaction."""

from __future__ import annotations

import numpy as np

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Moment

_FIELDS = ("gender", "age", "country")


class _LastFM1K(Converter):
    def events(self, rows: Rows) -> Events:
        """The MusicBrainz id identifies an artist, or the name if there is no id."""
        artists = [mbid or name for mbid, name in zip(rows.texts["mbid"], rows.texts["artist"], strict=True)]
        numbers = {"plays": np.ones(len(artists)), "timestamp": rows.numbers["timestamp"]}
        return Events(rows.texts["user"], artists, numbers)


LASTFM_1K = _LastFM1K(
    name="lastfm-1k",
    title="Last.fm-1K: gender, age, country",
    source="Get lastfm-dataset-1K.tar.gz from https://mtg.upf.edu (non-commercial) and unpack it.",
    # Two columns of names can hold tabs, which look like separators. Rows with such tabs count as malformed.
    interactions=Table(
        ("userid-timestamp-artid-artname-traid-traname.tsv",),
        ("user", "timestamp", "mbid", "artist", "track_id", "track"),
        numbers={"timestamp": Moment("%Y-%m-%dT%H:%M:%SZ")},
    ),
    users=Table(("userid-profile.tsv",), ("#id", *_FIELDS), header=True),
    fields={name: name for name in _FIELDS},
    merge={"plays": "sum"},
    key="#id",
    labels="some",  # two in three users give no age, and "every" would drop them
)
