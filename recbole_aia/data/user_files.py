"""Reads the ``.user`` file of a dataset, and counts what it and ``recbole-aia prepare`` say of contradictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_aia.data.atomic_text import atomic_header, check_lines
from recbole_aia.data.delimited import text_encoding
from recbole_aia.errors import AttributeDataError


def read_user_file(path: Path, config: Any) -> pd.DataFrame:
    """The columns of a ``.user`` file, as texts, under their names without types."""
    if not path.is_file():
        raise AttributeDataError(
            f"there is no file '{path}' with user attributes. Put one there, in RecBole's atomic format."
        )
    columns = atomic_header(path, config, typed=False)
    check_lines(path, config)
    try:
        frame = pd.read_csv(
            path,
            sep=config["field_separator"] or "\t",
            dtype=str,
            keep_default_na=False,
            encoding=text_encoding(path, config["encoding"]),
        )
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AttributeDataError(f"'{path}' cannot be read: {reason}. Mend the file, or set encoding.") from error
    frame.columns = pd.Index(list(columns))
    if config["USER_ID_FIELD"] not in frame.columns:
        raise AttributeDataError(
            f"'{path}' has no column '{config['USER_ID_FIELD']}'. "
            "Name the user column in USER_ID_FIELD, or mend the header."
        )
    _refuse_blanks(path, frame[config["USER_ID_FIELD"]])
    return frame


def _refuse_blanks(path: Path, names: pd.Series) -> None:
    repeated = int(pd.Series(names.unique()).str.strip().duplicated().sum())
    if repeated:
        raise AttributeDataError(f"in '{path}', {repeated} users differ from others in blanks only. Mend the file.")


def conflicts(frame: pd.DataFrame, user: str) -> dict[str, dict[str, int]]:
    """For each column, the number of users whose lines have different values."""
    repeated = frame[frame.duplicated(user, keep=False)]
    counts = {}
    for column in frame.columns.drop(user):
        different = repeated[[user, column]].drop_duplicates()
        counts[column] = {"conflicting_users": len(set(different.loc[different.duplicated(user), user]))}
    return {column: count for column, count in counts.items() if any(count.values())}


def prepared_counts(path: Path) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """The counts that ``recbole-aia prepare`` wrote beside the data: conflicts by column, raw counts by attribute."""
    account = path.with_suffix(".prepared.json")
    try:
        counted = json.loads(account.read_text("utf-8")) if account.is_file() else {"conflicts": {}, "raw": {}}
        conflicts, raw = (
            {name: {prefix + what: int(n) for what, n in counts.items() if n} for name, counts in counted[key].items()}
            for key, prefix in (("conflicts", "conflicting_"), ("raw", "raw_"))
        )
        return conflicts, raw
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise AttributeDataError(
            f"'{account}' is not what 'recbole-aia prepare' wrote. Prepare the data again."
        ) from error
