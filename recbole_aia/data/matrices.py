"""Reads user embeddings of any system from files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_aia.config.text import refuse_special
from recbole_aia.data.arrays import UNREADABLE, Arrays, let_go, read_npy
from recbole_aia.data.delimited import header_of, read_table, refuse_repeated, unreadable, user_column
from recbole_aia.errors import AIAError, AttributeDataError

_LARGEST = 1e18  # the square of a larger number is infinite in single precision
_PART = 1 << 26  # numbers looked at at a time: the matrix may be larger than memory


class Drawn(NamedTuple):
    """Users who were drawn from a file: their ``rows [n]`` in it, ascending, and how many users it has."""

    rows: np.ndarray
    of: int


@dataclass(frozen=True)
class Matrix:
    """The user embeddings in a file.

    Attributes:
        views: matrices ``[n_users, d]`` by name: ``served`` and ``table`` in recbole-aia's own files, else ``given``.
        tokens: the users' names ``[n_users]``, all different; ``None`` if the file has no names.
        activity: number of interactions of each user, ``[n_users]``; ``None`` if the file does not have it.
        drawn: which of the file's users these are; ``None`` for all.
    """

    views: dict[str, np.ndarray]
    tokens: np.ndarray | None
    activity: np.ndarray | None = None
    drawn: Drawn | None = None


def rows_at_once(dimensions: int) -> int:
    """How many rows of so many numbers are looked at at a time."""
    return max(1, _PART // max(1, dimensions))


def read_matrix(path: Path) -> Matrix:
    """Reads user embeddings.

    ``.npz`` holds ``embeddings`` (or a single array of any name), and may hold ``user_tokens`` and ``table``, as
    recbole-aia's own embeddings.npz does, and ``interactions``, as that of 0.1.0 did. ``.npy`` holds the rows only.
    ``.csv``, ``.tsv`` and ``.parquet`` hold columns of numbers and may hold a column of users: the one called
    ``user_id``, ``user`` or the like, or else the first column if it is not numeric.

    Raises:
        AttributeDataError: the file is missing, or has another form.
    """
    kind = path.suffix.lower()
    readers = {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet, ".csv": _read_csv, ".tsv": _read_csv}
    if kind not in readers:
        raise AttributeDataError(f"'{path}' is not a kind of embeddings that can be read. Give {', '.join(readers)}.")
    try:
        refuse_special(path)
        matrix = readers[kind](path)
    except AIAError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    rows = {view.shape[:1] for view in matrix.views.values()}
    rows |= {each.shape for each in (matrix.tokens, matrix.activity) if each is not None}
    if len(rows) > 1 or not all(map(_is_matrix, matrix.views.values())):
        shapes = [f"{name} {view.shape} of {view.dtype}" for name, view in matrix.views.items()]
        named = {"user_tokens": matrix.tokens, "interactions": matrix.activity}
        shapes += [f"{name} {each.shape}" for name, each in named.items() if each is not None]
        raise AttributeDataError(f"'{path}' holds {', '.join(shapes)}. It must hold numbers, one row a user.")
    if matrix.activity is not None and matrix.activity.dtype.kind not in "iu":
        raise AttributeDataError(f"'interactions' of '{path}' are {matrix.activity.dtype}. They must be whole numbers.")
    if matrix.activity is not None and matrix.activity.size and matrix.activity.min() < 0:
        raise AttributeDataError(f"'interactions' of '{path}' has {matrix.activity.min()}. They must be counts >= 0.")
    for name, view in matrix.views.items():
        _refuse_huge(path, name, view)
    refuse_repeated(path, matrix.tokens)
    return matrix


def _refuse_huge(path: Path, name: str, view: np.ndarray) -> None:
    """Refuses finite numbers that single precision, in which attackers compute, does not hold."""
    largest = 0.0
    size = rows_at_once(view.shape[1])
    for first in range(0, len(view), size):
        part = view[first : first + size]
        largest = max(largest, np.abs(part[np.isfinite(part)], dtype=np.float64).max(initial=0.0))
        let_go(view)
    if largest > _LARGEST:
        raise AttributeDataError(
            f"the {name} embeddings of '{path}' have numbers up to {largest:.3g}, and attackers compute in single "
            f"precision, up to {_LARGEST:.0e}. Divide them all by one number."
        )


def _read_npy(path: Path) -> Matrix:
    return Matrix({"given": read_npy(path)}, None)


def _read_npz(path: Path) -> Matrix:
    arrays = Arrays(path)
    tokens = _texts(path, arrays["user_tokens"]) if "user_tokens" in arrays else None
    activity = arrays.get("interactions")
    numbers = [name for name in arrays if name not in ("user_tokens", "interactions")]
    if "embeddings" not in numbers and len(numbers) != 1:
        raise AttributeDataError(f"'{path}' holds {', '.join(numbers) or 'no array'}. Name one 'embeddings'.")
    if tokens is None or "embeddings" not in numbers:
        main = "embeddings" if "embeddings" in numbers else numbers[0]
        return Matrix({"given": arrays[main]}, tokens, activity)
    views = {"served": arrays["embeddings"], **({"table": arrays["table"]} if "table" in numbers else {})}
    return Matrix(views, tokens, activity)


def _texts(path: Path, tokens: np.ndarray) -> np.ndarray:
    """Users' names as texts; bytes are read as UTF-8."""
    if tokens.dtype.kind not in "USiu":
        raise AttributeDataError(f"'user_tokens' of '{path}' are {tokens.dtype}. They must be texts or whole numbers.")
    if tokens.dtype.kind == "S":
        return np.char.decode(tokens, "utf-8")
    texts = tokens.astype(str)
    texts = texts.astype(texts.dtype.newbyteorder("="))
    letters = texts.view(np.uint32) if texts.size and texts.dtype.itemsize else np.zeros(0, np.uint32)
    if (wrong := letters[(letters > sys.maxunicode) | ((letters >= 0xD800) & (letters <= 0xDFFF))]).size:
        raise AttributeDataError(
            f"'user_tokens' of '{path}' hold the number {wrong[0]:#x} in place of a letter. Write the file again."
        )
    return texts


def _read_csv(path: Path) -> Matrix:
    names, _ = header_of(path)
    headless = all(map(_is_number, names))
    frame = read_table(path, header=not headless)
    if headless:
        return _split(path, _as_numbers(frame), None)
    users = user_column(names)
    if users is None and len(frame) and not _is_number(frame.iloc[0, 0]):
        users = names[0]
    if users is None and not names[0]:
        raise AttributeDataError(f"the first column of '{path}' has no name. Call it user_id, or leave it out.")
    return _split(path, _as_numbers(frame, users), users)


def _as_numbers(frame: pd.DataFrame, users: str | None = None) -> pd.DataFrame:
    """The columns of texts as numbers, except for the column of users and for columns that hold other texts."""
    for name in frame.columns:
        if name != users:
            numbers = pd.to_numeric(frame[name].str.strip().replace("", "nan"), errors="coerce")
            wrong = numbers.isna() & ~frame[name].str.strip().str.lower().isin(["", "nan", "na", "null"])
            frame[name] = frame[name] if wrong.any() else numbers
    return frame


def _read_parquet(path: Path) -> Matrix:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise AttributeDataError(f"reading '{path}' needs pyarrow. Type: pip install pyarrow") from error
    if frame.index.name is not None:
        frame = frame.reset_index()
    users = user_column([str(name) for name in frame.columns])
    if users is None and len(frame.columns) and not pd.api.types.is_numeric_dtype(frame.iloc[:, 0]):
        lists = len(frame) and isinstance(frame.iloc[0, 0], np.ndarray | list)
        users = None if lists else str(frame.columns[0])
    frame.columns = pd.Index([str(name) for name in frame.columns])
    others = [name for name in frame.columns if name != users]
    if len(others) == 1 and len(frame) and isinstance(frame[others[0]].iloc[0], np.ndarray | list):
        tokens = None if users is None else frame[users].astype(str).to_numpy(dtype=str)
        return Matrix({"given": np.stack([np.asarray(row) for row in frame[others[0]]])}, tokens)
    return _split(path, frame, users)


def _split(path: Path, frame: pd.DataFrame, users: str | None) -> Matrix:
    """Splits a table into its numbers and, if a column holds users, their tokens."""
    numbers = frame if users is None else frame.drop(columns=users)
    is_wrong = [pd.api.types.is_bool_dtype(kind) or not pd.api.types.is_numeric_dtype(kind) for kind in numbers.dtypes]
    wrong = numbers.columns[is_wrong]
    if len(wrong) or numbers.empty:
        what = f"the column '{wrong[0]}' is not of numbers" if len(wrong) else "there are no numbers"
        raise AttributeDataError(f"'{path}': {what}. Give one column of users, and numbers in all others.")
    tokens = None if users is None else frame[users].astype(str).str.strip().to_numpy(dtype=str)
    return Matrix({"given": numbers.to_numpy(dtype=np.float64)}, tokens)


def _is_matrix(view: np.ndarray) -> bool:
    return view.ndim == 2 and view.size > 0 and view.dtype.kind in "fiu"


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
