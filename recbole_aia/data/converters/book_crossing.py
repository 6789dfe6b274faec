"""Book-Crossing: ratings from 1 to 10, and 0 for a book that the user read and did not rate. It has no times."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter, Events
from recbole_aia.data.converters.table import Rows, Table
from recbole_aia.data.converters.values import Number


class _BookCrossing(Converter):
    def events(self, rows: Rows) -> Events:
        """Each row is a rating."""
        return Events(rows.texts["User-ID"], rows.texts["ISBN"], {"rating": rows.numbers["Book-Rating"]})


BOOK_CROSSING = _BookCrossing(
    name="book-crossing",
    title="Book-Crossing: age",
    source="Get BX-CSV-Dump.zip, which has BX-Users.csv and BX-Book-Ratings.csv, and unpack it.",
    interactions=Table(
        ("BX-Book-Ratings.csv",),
        ("User-ID", "ISBN", "Book-Rating"),
        ";",
        header=True,
        encoding="cp1252",
        quotes="backslash",
        numbers={"Book-Rating": Number(0, 10)},
    ),
    users=Table(
        ("BX-Users.csv",), ("User-ID", "Location", "Age"), ";", header=True, encoding="cp1252", quotes="backslash"
    ),
    fields={"age": "Age", "location": "Location"},
    merge={"rating": "last"},
    key="User-ID",
)
