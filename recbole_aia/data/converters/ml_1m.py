"""MovieLens-1M: every rating is kept; the property file filters to the papers' 5-core later."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.values import Number

_FIELDS = ("gender", "age", "occupation", "zip_code")

ML_1M = Converter(
    name="ml-1m",
    title="MovieLens-1M: gender, age, occupation",
    source="Get https://files.grouplens.org/datasets/movielens/ml-1m.zip and unpack it.",
    interactions=Table(
        ("ratings.dat",),
        ("user_id", "item_id", "rating", "timestamp"),
        "::",
        # Ids of users go up to 6040, ids of films to 3952. The bound finds swapped columns.
        numbers={"item_id": Number(1, 3952), "rating": Number(1, 5), "timestamp": Number(5e8, 4e9)},
    ),
    users=Table(("users.dat",), ("user_id", *_FIELDS), "::"),
    fields={name: name for name in _FIELDS},
    merge={"rating": "last"},
    core=1,
)
