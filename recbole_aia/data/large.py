"""Users who are drawn from files of more users than memory takes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_aia.data.arrays import let_go
from recbole_aia.data.delimited import table_parts, unreadable, user_column
from recbole_aia.data.label_files import LabelFile, refuse_missing_header
from recbole_aia.data.matrices import Matrix
from recbole_aia.errors import AIAError, AttributeDataError

#: Most users that a map is learned from, or that are attacked, of a file without names of users.
MOST = 1_000_000
_LINES = 1 << 20  # of the file of labels, read at a time


def is_large(matrix: Matrix) -> bool:
    """Whether users are drawn from a matrix: it has more than :data:`MOST`, and no names that labels are matched by."""
    return matrix.tokens is None and len(next(iter(matrix.views.values()))) > MOST


def drawn(matrix: Matrix, label_path: Path, name: str, seed: int, asked: Any = None) -> tuple[Matrix, LabelFile]:
    """Draws :data:`MOST` users or fewer: half of them from all, and half from those with a label.

    The file of labels is read once, part by part, and of the matrix only the rows that are drawn.

    Args:
        matrix: a large one, see :func:`is_large`; row i is line i of the labels.
        label_path: the labels, see :func:`~recbole_aia.data.label_files.read_label_file`.
        name: of the file of embeddings, for messages.
        seed: of the draw.
        asked: ``attributes`` as in a configuration, which say what a label is; ``None`` for all columns.

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
            ranks = generator.random(len(frame))
            known = (frame[_columns(frame, asked)] != "").any(axis=1).to_numpy(bool)
            everybody.take(frame, ranks)
            labelled.take(frame[known], ranks[known])
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
    return replace(matrix, views=views), LabelFile(both.reset_index(drop=True), None)


def _columns(frame: pd.DataFrame, asked: Any) -> list[str]:
    """The columns of the attributes that are asked for."""
    specs = asked if isinstance(asked, dict) else dict.fromkeys(asked or frame.columns)
    fields = [
        (spec or {}).get("field", name) if isinstance(spec, dict | None) else name for name, spec in specs.items()
    ]
    return [name for name in frame.columns if name in fields]


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
