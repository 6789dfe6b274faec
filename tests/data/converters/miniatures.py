"""Miniatures of raw files, made up in the exact format, and a dataset of plain tables that can hold anything."""

from __future__ import annotations

from pathlib import Path

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data.converters import Converter
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.values import Number

# 40 users, 50 items, 25 of them for each user.
PAIRS = [(u, i) for u in range(1, 41) for i in range(1, 51) if (u + i) % 2]
RATINGS = "".join(f"{u}::{i}::{1 + u * i % 5}::{978300000 + u * i}\n" for u, i in PAIRS)
USERS = "".join(f"{u}::{'FM'[u % 2]}::{[1, 25, 50][u % 3]}::{u % 7}::0{u}\n" for u in range(1, 41))
FILES = {"users.dat": USERS, "ratings.dat": RATINGS}


def write_raw(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


class Plain(Converter):
    """Tables with headers and quotes, so that any text can stand in them."""

    def specifications(self):
        return {"group": {"field": "group"}}, ["group"]


PLAIN = Plain(
    name="plain",
    title="plain tables",
    source="Made up.",
    interactions=Table(("inter.csv",), ("user_id", "item_id", "rating"), ",", True, quotes="doubled",
                       numbers={"rating": Number()}),
    users=Table(("users.csv",), ("user_id", "group"), ",", True, quotes="doubled"),
    fields={"group": "group"},
    merge={"rating": "sum"},
    core=1,
)  # fmt: skip


def as_csv(rows):
    return "\n".join(",".join('"' + str(value).replace('"', '""') + '"' for value in row) for row in rows) + "\n"


def recbole_config(name, folder, **values):
    quiet = {"data_path": str(folder), "state": "error", "attributes": ["group"], **values}
    return AIAConfig("BPR", name, config_dict={"eval_args": {"order": "RO"}, **quiet}, argv=[])
