"""Helpers of the readers of matrices and labels: headers, columns of users, and errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_aia.errors import AttributeDataError

_USER_COLUMNS = ("user", "userid", "uid", "usertoken", "id")


def header(path: Path) -> tuple[list[str], str]:
    """The names in the first line, without types such as ``:token``, and the separator between them."""
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline().rstrip("\r\n")
    separator = max("\t,;", key=line.count)
    return [re.sub(r":(token|float)(_seq)?$", "", name.strip().strip('"')) for name in line.split(separator)], separator


def user_column(names: list[str]) -> str | None:
    """The column whose name, such as ``user_id``, says that it holds users; ``None`` if there is no such column."""
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    return next((names[plain.index(known)] for known in _USER_COLUMNS if known in plain), None)


def refuse_repeated(path: Path, tokens: np.ndarray | None) -> None:
    """Raises :class:`AttributeDataError` if a user occurs twice in a file."""
    if tokens is None:
        return
    repeated = np.flatnonzero(pd.Series(tokens).duplicated())
    if len(repeated):
        first = np.flatnonzero(tokens == tokens[repeated[0]])[0]
        raise AttributeDataError(
            f"rows {first + 1} and {repeated[0] + 1} of '{path}' name the same user. Keep one row a user."
        )


def unreadable(path: Path, error: Exception) -> AttributeDataError:
    """Turns any error from reading a file into an error of one line."""
    if isinstance(error, OSError) and error.strerror:
        return AttributeDataError(f"'{path}' cannot be read: {error.strerror}. Check the path.")
    reason = (str(error).strip().splitlines() or ["damaged"])[0]
    return AttributeDataError(f"'{path}' cannot be read: {reason}. Is it damaged, or of another kind?")
