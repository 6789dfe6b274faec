"""ModCloth (marketBias): ratings. Every row repeats the user's body shape, and rows of a user can differ."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.values import Moment, Number

MODCLOTH = Converter(
    name="modcloth",
    title="ModCloth of marketBias: body shape",
    source="Get data/df_modcloth.csv from https://github.com/MengtingWan/marketBias.",
    # The users' ids are display names, which can hold quotes and any other character.
    interactions=Table(
        ("df_modcloth.csv",),
        ("user_id", "item_id", "rating", "timestamp", "user_attr"),
        ",",
        header=True,
        quotes="doubled",
        numbers={"rating": Number(1, 5), "timestamp": Moment()},
    ),
    users=None,
    fields={"user_attr": "user_attr"},
    merge={"rating": "last"},
)
