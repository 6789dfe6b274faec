"""Writes RecBole's atomic files fast, and the same interactions as shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recbole_aia.data.converters.interactions import Interactions
from recbole_aia.data.converters.spilled import SpilledInteractions
from recbole_aia.data.converters.tokens import written, written_value
from recbole_aia.data.shards import write_shards

_ROWS = 2**19  # rows that are formatted at a time, which bounds the memory


def write_interactions(path: Path, interactions: Interactions, users: list[str], items: list[str]) -> dict[str, int]:
    """Writes an ``.inter`` file.

    Args:
        path: the file.
        interactions: the interactions.
        users: the users' ids, by number.
        items: the items' ids, by number.

    Returns:
        Number of ``users`` and ``items`` in the interactions whose ids were escaped; see :func:`tokens.written`.
    """
    texts, escaped = _ids(users, items, *interactions.counts())
    ends = ["\t"] * (1 + len(interactions.numbers)) + ["\n"]
    names = [
        np.array([f"{text}{end}".encode() for text in column], dtype=object)
        for column, end in zip(texts, ends, strict=False)
    ]
    header = ["user_id:token", "item_id:token", *(f"{name}:float" for name in interactions.numbers)]
    with path.open("wb") as file:
        file.write("\t".join(header).encode() + b"\n")
        for start in range(0, len(interactions), _ROWS):
            part = interactions.where(slice(start, start + _ROWS))
            columns = [_texts(column, end) for column, end in zip(part.numbers.values(), ends[2:], strict=True)]
            # One join of all texts: joining row by row takes more than twice as long.
            rows = np.column_stack([names[0][part.users], names[1][part.items], *columns])
            file.write(b"".join(rows.ravel().tolist()))
    return escaped


def write_as_shards(
    folder: Path, interactions: SpilledInteractions, users: list[str], items: list[str]
) -> dict[str, int]:
    """Writes the shards that stand for an ``.inter`` file into a new folder; see :func:`write_interactions`."""
    folder.mkdir()
    texts, escaped = _ids(users, items, *interactions.counts())
    write_shards(folder, len(interactions), interactions.names, interactions.parts(), *texts)
    return escaped


def _ids(
    users: list[str], items: list[str], of_users: np.ndarray, of_items: np.ndarray
) -> tuple[list[list[str]], dict[str, int]]:
    """The ids as atomic files have them, and how many of those with interactions were escaped."""
    texts, escaped = [], {}
    for what, counts, tokens in (("users", of_users, users), ("items", of_items, items)):
        column = list(map(written, tokens))
        escaped[what] = sum(column[code] != tokens[code] for code in np.flatnonzero(counts).tolist())
        texts.append(column)
    return texts, escaped


def write_users(path: Path, frame: pd.DataFrame) -> None:
    """Writes a ``.user`` file of ids and values. Every column has the type token; missing values are empty."""
    users, *values = (frame[name].tolist() for name in frame.columns)
    columns = [list(map(written, users)), *(list(map(written_value, column)) for column in values)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(f"{name}:token" for name in frame.columns) + "\n")
        file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def _texts(numbers: np.ndarray, end: str) -> np.ndarray:
    """Numbers as encoded texts ``[n]``, each followed by ``end``; without decimal points if all are whole."""
    whole = numbers.astype(np.int64)
    if not (whole == numbers).all():
        return np.array([f"{number}{end}".encode() for number in numbers.tolist()], dtype=object)
    low, high = int(whole.min()), int(whole.max())
    if high - low > numbers.size:
        return np.array([f"{number}{end}".encode() for number in whole.tolist()], dtype=object)
    # Ratings and plays take few different values, so each value is formatted once and then looked up.
    return np.array([f"{number}{end}".encode() for number in range(low, high + 1)], dtype=object)[whole - low]
