"""Users who are drawn from files of more users than memory takes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_aia.data.arrays import let_go
from recbole_aia.data.attributes import attribute_specs
from recbole_aia.data.delimited import table_parts, unreadable, user_column
from recbole_aia.data.label_files import LabelFile, refuse_missing_header
from recbole_aia.data.matrices import Drawn, Matrix
from recbole_aia.data.specs import MISSING_MARKERS, AttributeSpec
from recbole_aia.errors import AIAError, AttributeDataError

#: Most users that a map is learned from, or that are attacked, of a file without names of users.
MOST = 1_000_000
_LINES = 1 << 20  # of the file of labels, read at a time


def is_large(matrix: Matrix) -> bool:
    """Whether users are drawn from a matrix: it has more than :data:`MOST`, and no names that labels are matched by."""
    return matrix.tokens is None and len(next(iter(matrix.views.values()))) > MOST


def drawn(matrix: Matrix, label_path: Path, name: str, seed: int, asked: Mapping[str, Any]) -> tuple[Matrix, LabelFile]:
    """Draws up to :data:`MOST` users: half of them from all, and half from those with a label.

    The file of labels is read once, part by part, and of the matrix only the rows that are drawn.

    Args:
        matrix: a large one, see :func:`is_large`; row i is line i of the labels.
        label_path: the labels, see :func:`~recbole_aia.data.label_files.read_label_file`.
        name: of the file of embeddings, for messages.
        seed: of the draw.
        asked: ``attributes`` and ``attribute_specs`` as in a configuration, which say what a label is. Without them it
            is a value in any column.

    Raises:
        AttributeDataError: the labels cannot be read, or have another number of lines than the matrix has rows.
    """
    n_users = len(next(iter(matrix.views.values())))
    generator = np.random.default_rng(seed)
    everybody, labelled, lines = _Smallest(MOST // 2), _Smallest(MOST // 2), 0
    try:
        for part in table_parts(label_path, _LINES):
            if not lines:
                refuse_missing_header(label_path, part)
            users = user_column(list(part.columns))
            frame = part if users is None else part.drop(columns=users)
            known = _labelled(frame, asked)
            everybody.take(frame, generator.random(len(frame)))
            labelled.take(frame[known], generator.random(int(known.sum())))
            lines += len(frame)
    except (OSError, ValueError) as error:
        if isinstance(error, AIAError):
            raise
        raise unreadable(label_path, error) from error
    if lines != n_users:
        raise AttributeDataError(
            f"{name} has {n_users} rows and {label_path.name} has {lines}. Without user tokens, row i of one is row i "
            "of the other, so the numbers must be equal (is RecBole's padding user in row 0? Drop it)."
        )
    both = pd.concat([everybody.frame, labelled.frame])
    both = both[~both.index.duplicated()].sort_index()
    rows = both.index.to_numpy()
    views = {view: np.array(vectors[rows]) for view, vectors in matrix.views.items()}
    for vectors in matrix.views.values():
        let_go(vectors)
    activity = None if matrix.activity is None else matrix.activity[rows]
    found = replace(matrix, views=views, activity=activity, drawn=Drawn(rows, n_users))
    return found, LabelFile(both.reset_index(drop=True), None)


def _labelled(frame: pd.DataFrame, asked: Mapping[str, Any]) -> np.ndarray:
    """Which lines have a value of an attribute that is asked for, ``[n]``."""
    named, defined = asked["attributes"], asked["attribute_specs"] or {}
    if named or defined:
        wanted = {**asked, "attributes": named or list(defined)}
        specs = attribute_specs(wanted, list(frame.columns))
    else:
        specs = [AttributeSpec(name, name) for name in frame.columns]
    found = np.zeros(len(frame), dtype=bool)
    for spec in specs:
        found |= ~frame[spec.field].str.strip().isin([*MISSING_MARKERS, *spec.missing]).to_numpy(bool)
    return found


class _Smallest:
    """The lines with the smallest ranks among all that it takes: a uniform draw if ranks are random.

    Args:
        most: number of lines that it keeps.
    """

    def __init__(self, most: int) -> None:
        self._most, self._ranks = most, np.empty(0)
        self.frame = pd.DataFrame()

    def take(self, frame: pd.DataFrame, ranks: np.ndarray) -> None:
        """Takes lines, whose index is their number in the file."""
        self.frame = pd.concat([self.frame, frame]) if len(self.frame) else frame
        self._ranks = np.concatenate([self._ranks, ranks])
        if len(self._ranks) > self._most:
            kept = np.argpartition(self._ranks, self._most - 1)[: self._most]
            self.frame, self._ranks = self.frame.iloc[kept], self._ranks[kept]
