"""Last.fm-360K: plays of artists. RAID keeps users and artists with 45 interactions or more."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("gender", "age", "country")


class _LastFM360K(Converter):
    def events(self, rows: Rows) -> Events:
        """The MusicBrainz id identifies an artist, or the name if there is no id."""
        artists = [mbid or name for mbid, name in zip(rows.texts["mbid"], rows.texts["name"], strict=True)]
        return Events(rows.texts["user"], artists, {"plays": rows.numbers["plays"]})


LASTFM_360K = _LastFM360K(
    name="lastfm-360k",
    title="Last.fm-360K: gender, age, country",
    source="Get lastfm-dataset-360K.tar.gz from https://zenodo.org/records/6090214 (non-commercial) and unpack it.",
    # Quotes belong to the names, and names can hold tabs.
    interactions=Table(
        ("usersha1-artmbid-artname-plays.tsv",),
        ("user", "mbid", "name", "plays"),
        free="name",
        numbers={"plays": Number(0)},
    ),
    users=Table(("usersha1-profile.tsv",), ("user", *_FIELDS, "signup")),
    fields={name: name for name in _FIELDS},
    merge={"plays": "sum"},
    key="user",
    core=45,
)
