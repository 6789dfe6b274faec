"""Attacks of those who have earlier releases or know the users' activity, for ``run`` and ``audit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbole_aia.config.types import BoolArray, FloatArray, IntArray
from recbole_aia.data import LabelTable
from recbole_aia.data.matrices import Drawn, Matrix, read_matrix
from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator, informed_attack
from recbole_aia.trainer import Trained

_SERVED = ("served", "given")  # the names that the vectors of a file may have


class Earlier(NamedTuple):
    """Earlier releases of the users of an audit.

    Attributes:
        rows: the audited users whom every release has, as rows of the audited vectors, ``[m]``.
        releases: their vectors, ``[m, d']`` each, in the order in which the files were given.
        files: the files.
        notes: lines that a reader of the results has to know.
    """

    rows: IntArray
    releases: list[FloatArray]
    files: list[Path]
    notes: list[str]


def read_earlier(
    files: Sequence[Path], n_users: int, tokens: NDArray[np.str_] | None, drawn: Drawn | None = None
) -> Earlier:
    """Reads earlier releases and finds the audited users in them: by token, or row by row where a file has none.

    Args:
        files: one or several, see :func:`~recbole_aia.data.matrices.read_matrix`.
        n_users: number of the audited users.
        tokens: their names, ``[n_users]``; ``None`` if unknown.
        drawn: which rows of their file they are; ``None`` for all.

    Raises:
        AttributeDataError: a file cannot be read, has no user in common with the others, or has vectors that are not
            finite, or rows cannot be matched because there are no tokens and not equally many.
    """
    found, notes = [], []
    for file in files:
        matrix = read_matrix(file)
        found.append((matrix, _rows_in(file, matrix, n_users, tokens, drawn)))
        if matrix.tokens is None or tokens is None:
            notes.append(f"users have no tokens in both files: row i of {file.name} was taken for row i of the vectors")
    rows = np.flatnonzero(np.all([there >= 0 for _, there in found], axis=0))
    if not len(rows):
        named = ", ".join(file.name for file in files)
        raise AttributeDataError(f"no audited user is in every earlier release ({named}). Do their user names agree?")
    if len(rows) < n_users:
        missing = n_users - len(rows)
        notes.append(f"{missing:,} of {n_users:,} users are not in every earlier release and are left out with these")
    releases = [_vectors(file, matrix)[there[rows]] for file, (matrix, there) in zip(files, found, strict=True)]
    for file, vectors in zip(files, releases, strict=True):
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        if bad:
            raise AttributeDataError(f"the vectors of {bad} of {len(vectors)} users in '{file}' are not finite.")
    return Earlier(rows, releases, [*files], notes)


def _rows_in(
    file: Path, matrix: Matrix, n_users: int, tokens: NDArray[np.str_] | None, drawn: Drawn | None
) -> IntArray:
    """The row of each audited user in a file, ``[n_users]``; -1 where the file does not have the user."""
    size = len(_vectors(file, matrix))
    if matrix.tokens is not None and tokens is not None:
        place = {str(token): row for row, token in enumerate(matrix.tokens)}
        return np.array([place.get(str(token), -1) for token in tokens], dtype=np.int64)
    expected = n_users if drawn is None else drawn.of
    if size != expected:
        raise AttributeDataError(
            f"{file.name} has {size:,} rows and the audited vectors {expected:,}, and not both have user tokens. "
            "Give files with tokens, or rows in the same order."
        )
    return np.arange(n_users) if drawn is None else drawn.rows


def _vectors(file: Path, matrix: Matrix) -> FloatArray:
    name = next((name for name in _SERVED if name in matrix.views), None)
    if name is None:
        raise AttributeDataError(f"'{file}' holds {', '.join(matrix.views)}, and no served vectors.")
    vectors: FloatArray = np.asarray(matrix.views[name], dtype=np.float64)
    return vectors


def informed_audit(
    evaluator: AttributeInferenceEvaluator,
    vectors: FloatArray,
    columns: Mapping[str, Any],
    class_names: Mapping[str, Sequence[str]],
    *,
    earlier: Earlier | None,
    activity: IntArray | None,
    state: str,
) -> dict[str, Any]:
    """The content of ``informed`` of an audit, over the users whom every release has."""
    rows = np.arange(len(vectors)) if earlier is None else earlier.rows
    found = informed_attack(
        evaluator,
        vectors[rows],
        {name: np.asarray(column)[rows] for name, column in columns.items()},
        earlier=[] if earlier is None else earlier.releases,
        activity=None if activity is None else np.asarray(activity)[rows],
        class_names=class_names,
        state=state,
    )
    return {**found, "notes": [*([] if earlier is None else earlier.notes), *found["notes"]]}


def informed_run(
    evaluator: AttributeInferenceEvaluator,
    states: Mapping[str, Trained],
    labels: LabelTable,
    report: AttackReport,
    activity: IntArray,
    among: Mapping[str, BoolArray] | None = None,
) -> dict[str, Any] | None:
    """The content of ``informed`` of a run or an unlearning; the undefended vectors are the earlier release.

    ``protocol: informed`` asks for all of it. Every other run with a defense looks at the difference alone, with one
    fast attacker and without labels: this shows whether the defense writes the label into the movement, in a second.

    Args:
        evaluator: the run's.
        states: the trained models by state.
        labels: the users' labels.
        report: attacks on both states; those on the undefended vectors say what these tell alone.
        activity: number of interactions of each user, ``[n_users]``.
        among: of each attribute, the users who are attacked, ``[n_users]``: those who have moved. All where ``None``.

    Returns:
        ``None`` where nothing is asked: without a defense, under another protocol, or of too few users.
    """
    whole = evaluator.settings.protocol == "informed"
    if len(states) == 1 and not whole:
        return None
    if not whole:
        fast = {"attackers": ["logistic"], "attack_repeats": 1, "show_progress": False}
        kept, evaluator = evaluator.kept, AttributeInferenceEvaluator(asdict(evaluator.settings), **fast)
        evaluator.kept = kept
    columns, everybody = labels.columns(), True
    if among is not None:
        columns = {name: np.where(among[name], column, -1) for name, column in columns.items()}
        everybody = all(users.all() for users in among.values())
    *earlier, (state, final) = states.items()
    try:
        evaluator.attacked_attributes(columns, len(final.served), labels.classes)
    except AttributeDataError:
        return None
    return informed_attack(
        evaluator,
        final.served.numpy(),
        columns,
        earlier=[before.served.numpy() for _, before in earlier],
        activity=activity if whole else None,
        class_names=labels.classes,
        state=state,
        old=AttackReport.concat(report.where(state="undefended", view="served", attribute=name) for name in columns)
        if everybody
        else None,
        side_by_side=whole,
    )
