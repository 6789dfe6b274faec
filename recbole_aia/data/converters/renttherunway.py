"""RentTheRunway: rented dresses. Every review repeats the user's measures, and reviews of a user can differ."""

from __future__ import annotations

import re
from collections.abc import Mapping

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.table import JSON, Rows, Table
from recbole_aia.data.converters.values import Moment

_HEIGHT = re.compile(r"(\d+)' *(\d+)\"")
_WEIGHT = re.compile(r"(\d+) *lbs")


class _RentTheRunway(Converter):
    def attributes(self, rows: Rows) -> Mapping[str, list[str]]:
        """Turns heights into inches and weights into pounds, both as plain numbers."""
        columns = dict(super().attributes(rows))
        columns["height"] = [_inches(text) for text in columns["height"]]
        columns["weight"] = [match[1] if (match := _WEIGHT.fullmatch(text)) else text for text in columns["weight"]]
        return columns


RENTTHERUNWAY = _RentTheRunway(
    name="renttherunway",
    title="RentTheRunway: body type, age, height, weight",
    source="Get renttherunway_final_data.json.gz from https://cseweb.ucsd.edu/~jmcauley/datasets.html.",
    interactions=Table(
        ("renttherunway_final_data.json",),
        ("user_id", "item_id", "review_date", "body type", "age", "height", "weight"),
        JSON,
        numbers={"review_date": Moment("%B %d, %Y")},
    ),
    users=None,
    time="review_date",
    fields={"body_type": "body type", "age": "age", "height": "height", "weight": "weight"},
)


def _inches(text: str) -> str:
    match = _HEIGHT.fullmatch(text.strip())
    return str(12 * int(match[1]) + int(match[2])) if match else text
