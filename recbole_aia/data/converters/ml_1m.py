"""MovieLens-1M: every rating is kept, for the property file has the papers' 5-core."""

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
        # There are users up to 6040 and films up to 3952: users in the films' place are found.
        numbers={"item_id": Number(1, 3952), "rating": Number(1, 5), "timestamp": Number(5e8, 4e9)},
    ),
    users=Table(("users.dat",), ("user_id", *_FIELDS), "::"),
    fields={name: name for name in _FIELDS},
    merge={"rating": "last"},
    core=1,
)
