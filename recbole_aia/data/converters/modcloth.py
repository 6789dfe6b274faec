"""ModCloth (marketBias): ratings. Every row says anew what shape its user is, and users contradict themselves."""

from __future__ import annotations

from recbole_aia.data.converters.base import Converter
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.values import Moment, Number

MODCLOTH = Converter(
    name="modcloth",
    title="ModCloth of marketBias: body shape",
    source="Get data/df_modcloth.csv from https://github.com/MengtingWan/marketBias.",
    # Users are display names, with quotes and anything else in them.
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
