"""Reads labels of any system from a file and matches them with embeddings.

User tokens match the two files if both files have them. Otherwise line i of one file belongs to line i of the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_aia.data.anonymous import form_of
from recbole_aia.data.attributes import LabelTable, attribute_specs, label_table
from recbole_aia.data.delimited import read_table, refuse_repeated, unreadable, user_column
from recbole_aia.data.matrices import Matrix
from recbole_aia.data.specs import AttributeSpec
from recbole_aia.errors import AIAError, AttributeDataError


@dataclass(frozen=True)
class LabelFile:
    """The attributes in a file.

    Attributes:
        frame: one line for each user, columns of strings, without the column of users.
        tokens: the user of each line, all different; ``None`` if the file does not name a column of users.
    """

    frame: pd.DataFrame
    tokens: np.ndarray | None


def read_label_file(path: Path) -> LabelFile:
    """Reads users' attributes from text with commas, semicolons or tabs, a header, and one line for each user.

    RecBole's ``.user`` files have this form. A column called ``user_id``, ``user`` or the like holds the users.

    Raises:
        AttributeDataError: the file is missing, or has another form.
    """
    try:
        frame = read_table(path)
    except (OSError, ValueError) as error:
        if isinstance(error, AIAError):
            raise
        raise unreadable(path, error) from error
    refuse_missing_header(path, frame)
    users = user_column(list(frame.columns))
    if users is None:
        return LabelFile(frame, None)
    tokens = frame[users].str.strip().to_numpy(dtype=str)
    refuse_repeated(path, tokens)
    return LabelFile(frame.drop(columns=users), tokens)


def refuse_missing_header(path: Path, frame: pd.DataFrame) -> None:
    """Refuses a first line that looks like a person: it would become the header, and the person would be lost."""
    for place, name in enumerate(frame.columns, start=1):
        if not name or re.fullmatch(r"[-+]?[0-9.]+", name) or (frame[name] == name).any():
            raise AttributeDataError(
                f"the first line of '{path}' seems to be no header: its value {place} is a number, or a value of other "
                "lines. Write a header, such as user_id,gender."
            )


def match_rows(matrix: Matrix, labels: LabelFile, names: tuple[str, str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Finds the embedding of each line of labels.

    Args:
        matrix: the embeddings.
        labels: the labels. If they name no column of users and the matrix has tokens, their first column holds users.
        names: the names of the two files in messages.

    Returns:
        For each line of labels, 1 + the row of its user in the matrix, or 0 if the user has no row; and the attributes.

    Raises:
        AttributeDataError: no user is in both files, or there are no tokens and the numbers of rows differ.
    """
    n_users = len(next(iter(matrix.views.values())))
    frame, tokens = labels.frame, labels.tokens
    if matrix.tokens is None:
        if len(frame) != n_users:
            raise AttributeDataError(
                f"{names[0]} has {n_users} rows and {names[1]} has {len(frame)}. Without user tokens, row i of one is "
                "row i of the other, so the numbers must be equal (is RecBole's padding user in row 0? Drop it)."
            )
        return np.arange(1, n_users + 1), frame
    if tokens is None:
        tokens = frame.iloc[:, 0].str.strip().to_numpy(dtype=str)
        refuse_repeated(Path(names[1]), tokens)
        frame = frame.iloc[:, 1:]
    ids = pd.Series(np.arange(1, n_users + 1), index=pd.Index(np.char.strip(matrix.tokens), dtype=object))
    rows = ids.reindex(pd.Index(tokens, dtype=object)).fillna(0).to_numpy(np.int64)
    if not rows.any():
        there = f"ids like {form_of(tokens[0])}" if len(tokens) else "nobody"
        raise AttributeDataError(
            f"no user of {names[0]} (ids like {form_of(matrix.tokens[0])}, 9 a digit and a letters) is in {names[1]} "
            f"({there}). Do both name users the same way?"
        )
    return rows, frame


def tabled_labels(
    frame: pd.DataFrame, rows: np.ndarray, n_users: int, asked: Mapping[str, Any]
) -> tuple[LabelTable, list[tuple[str, str]]]:
    """Makes the labels of the attributes that the caller names, or of every column that has usable classes.

    Args:
        frame: attributes, columns of strings.
        rows: the internal id of each line's user, or 0, as :func:`match_rows` returns them.
        n_users: number of users, the padding user included.
        asked: ``attributes`` and ``attribute_specs`` as in a configuration, and ``dataset``, a name for messages.

    Returns:
        The labels; and each column without usable classes, with the reason why it is passed over.

    Raises:
        AttributeDataError: a named attribute, or every column, has no usable classes.
        ConfigValueError: the file does not have a named attribute.
    """
    source, defined = asked["dataset"], asked["attribute_specs"] or {}
    if asked["attributes"] or defined:
        wanted = {**asked, "attributes": asked["attributes"] or list(defined)}
        specs = attribute_specs(wanted, list(frame.columns))
        return label_table(frame, rows, n_users, specs, source), []
    passed_over, usable = [], []
    for name in frame.columns:
        spec = AttributeSpec(name, name)
        try:
            label_table(frame, rows, n_users, [spec], source)
            usable.append(spec)
        except AttributeDataError as error:
            passed_over.append((name, str(error)))
    if not usable:
        reasons = passed_over[0][1] if passed_over else f"{source} has no column besides the users."
        raise AttributeDataError(reasons)
    return label_table(frame, rows, n_users, usable, source), passed_over
