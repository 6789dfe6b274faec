"""RecBole's atomic files, written fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recbole_aia.data.converters.interactions import Interactions
from recbole_aia.data.converters.tokens import written

_ROWS = 2**19


def write_interactions(path: Path, interactions: Interactions, users: list[str], items: list[str]) -> dict[str, int]:
    """Writes an ``.inter`` file.

    Args:
        path: the file.
        interactions: the interactions.
        users: the users' ids, by number.
        items: the items' ids, by number.

    Returns:
        How many ``users`` and ``items`` of these interactions had to be written in another way.
    """
    names, escaped = [], {}
    for what, codes, tokens in (("users", interactions.users, users), ("items", interactions.items, items)):
        texts = list(map(written, tokens))
        names.append(texts)
        escaped[what] = sum(texts[code] != tokens[code] for code in np.unique(codes).tolist())
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(["user_id:token", "item_id:token", *(f"{name}:float" for name in interactions.numbers)]))
        file.write("\n")
        for start in range(0, len(interactions), _ROWS):
            part = interactions.where(slice(start, start + _ROWS))
            columns = [map(names[0].__getitem__, part.users.tolist()), map(names[1].__getitem__, part.items.tolist())]
            rows = zip(*columns, *map(_texts, part.numbers.values()), strict=True)
            file.write("\n".join(map("\t".join, rows)) + "\n")
    return escaped


def write_users(path: Path, frame: pd.DataFrame) -> None:
    """Writes a ``.user`` file; every column is a token, and what is missing is empty."""
    columns = [[written(value) if value else "" for value in frame[name].tolist()] for name in frame.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(f"{name}:token" for name in frame.columns) + "\n")
        file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def _texts(numbers: np.ndarray) -> list[str]:
    whole = numbers.astype(np.int64)
    return list(map(str, whole.tolist())) if (whole == numbers).all() else list(map(repr, numbers.tolist()))
