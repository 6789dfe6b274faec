"""The job of ``recbole-aia protect``: protects user embeddings in a file, and later users by a map that was kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recbole_aia.config.text import parse_value
from recbole_aia.config.types import FloatArray
from recbole_aia.data import LabelTable
from recbole_aia.data.arrays import let_go
from recbole_aia.data.label_files import match_rows, read_label_file, tabled_labels
from recbole_aia.data.large import MOST, drawn, is_large
from recbole_aia.data.matrices import Matrix, read_matrix, rows_at_once
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.jobs.protect import learn_protection, protect
from recbole_aia.jobs.protection import Protection, as_given
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.run_folder import make_folder
from recbole_aia.trainer.posteriors import OWN_LABELS


def protect_file(
    path: Path,
    label_path: Path,
    out: Path,
    kept: Path | None = None,
    *,
    attributes: str | None = None,
    own_labels: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> list[str]:
    """Protects the users of a file, and writes them to another.

    Args:
        path: the embeddings, see :func:`~recbole_aia.data.matrices.read_matrix`.
        label_path: the labels, see :func:`~recbole_aia.data.label_files.read_label_file`.
        out: the npz file to write; or, for embeddings in an npy file, an npy file, which is written part by part, so
            that both may be larger than memory.
        kept: the file for the map; ``None`` keeps none.
        attributes: what to hide, as on the command line; ``None`` takes every column with usable classes.
        own_labels: users move by their own labels, see :func:`~recbole_aia.protect`.
        seed: see :func:`~recbole_aia.protect`.
        device: see :func:`~recbole_aia.protect`.

    Returns:
        Lines that say what was learned, and what was left out.

    Raises:
        AttributeDataError: embeddings or labels cannot be read or used.
        ConfigValueError: an output exists or cannot be written, or the file of labels has no such attribute.
    """
    _check_outputs(path, out, kept)
    matrix = read_matrix(path)
    asked = {"dataset": label_path.name, "attributes": _names(attributes), "attribute_specs": None}
    everybody, lines = matrix, list[str]()
    if is_large(matrix) and _by_parts(out):
        if own_labels:
            raise ConfigValueError(
                f"'{path}' has more than {MOST:,} users, who are protected part by part for an .npy file, by one map. "
                "Leave calibrated_labels out, or end --out in .npz if all fit into memory."
            )
        matrix, label_file = drawn(matrix, label_path, path.name, seed, asked)
        lines = [f"learned from {len(label_file.frame):,} users, who were drawn"]
    else:
        label_file = read_label_file(label_path)
    name, vectors = _vectors(matrix)
    rows, frame = match_rows(matrix, label_file, (path.name, label_path.name))
    labels, passed_over = tabled_labels(frame, rows, len(vectors) + 1, asked)
    if own_labels:
        protected = protect(vectors, labels.columns(), calibrated_labels="own", seed=seed, device=device)
        protection = None
        lines += [_counted(labels, attribute) for attribute in labels.names]
        lines.append(f"warning: {OWN_LABELS}")
    else:
        protected, protection = learn_protection(
            vectors, labels.columns(), activity=matrix.activity, seed=seed, device=device
        )
        lines += _learned(protection, labels.names)
        lines.append("users without a label move, and are protected, like all others")
    lines += [f"{column} is not protected: {reason}" for column, reason in passed_over]
    if labels.absent:
        lines.append(f"{labels.absent} users of {label_path.name} are not in {path.name}")
    if matrix.tokens is None:
        lines.append(f"no user tokens in {path.name}: its row i was taken for line i of {label_path.name}")
    whole: Any = protected
    if everybody is not matrix and protection is not None:
        whole = partial(_write_parts, protection, _vectors(everybody)[1])
    _write(out, matrix, whole, protection, kept)
    return [*lines, *_left_out(path, matrix, name)]


def protect_later(path: Path, kept: Path, out: Path) -> list[str]:
    """Protects the users of a file by a map that :func:`protect_file` kept, and writes them to another.

    Args:
        path: embeddings of the same system, see :func:`~recbole_aia.data.matrices.read_matrix`.
        kept: the file with the map.
        out: see :func:`protect_file`.

    Returns:
        Lines that say what the map was learned from, and what was left out.

    Raises:
        AttributeDataError: the embeddings cannot be read, or have another number of dimensions than the map.
        ConfigValueError: there is no such map, or the output exists or cannot be written.
    """
    _check_outputs(path, out)
    protection, matrix = Protection.load(kept), read_matrix(path)
    name, vectors = _vectors(matrix)
    _write(out, matrix, partial(_write_parts, protection, vectors) if _by_parts(out) else protection.transform(vectors))
    return [*_learned(protection, list(protection.report.get("attributes", {}))), *_left_out(path, matrix, name)]


def _check_outputs(given: Path, *files: Path | None) -> None:
    """Refuses what cannot be written before anything is computed; ``given`` holds the embeddings."""
    for option, file in zip(("--out", "--map"), files, strict=False):
        if file is None:
            continue
        kinds = [".npz", *([".npy"] if option == "--out" and given.suffix.lower() == ".npy" else [])]
        if file.suffix not in kinds:
            raise ConfigValueError(f"{option} is '{file}'. It must end in {' or '.join(kinds)}.")
        if file.exists():
            raise ConfigValueError(f"'{file}' exists already. Give another {option}, or remove it.")
        if not file.parent.is_dir():
            raise ConfigValueError(f"there is no folder '{file.parent}'. Make it, or give another {option}.")
        make_folder(file.parent, option)
    if len({file.resolve() for file in files if file}) < sum(file is not None for file in files):
        raise ConfigValueError(f"--out and --map are both '{files[0]}'. Give each a file of its own.")


def _names(attributes: str | None) -> Any:
    """The attributes as a configuration has them: a list or a mapping, or None."""
    parsed = None if attributes is None else parse_value(attributes)
    if parsed is not None and not isinstance(parsed, str | list | dict):
        raise ConfigValueError(f"--attributes is {attributes}. It must be a list of names, such as [gender,age].")
    return [parsed] if isinstance(parsed, str) else parsed


def _vectors(matrix: Matrix) -> tuple[str, np.ndarray]:
    """The view that other systems serve, and its name."""
    name = "served" if "served" in matrix.views else next(iter(matrix.views))
    return name, matrix.views[name]


def _counted(labels: LabelTable, attribute: str) -> str:
    known = int((labels.column(attribute) >= 0).sum())
    return f"{attribute}: {known:,} users with a label, {labels.missing(attribute):,} without"


def _learned(protection: Protection, attributes: Any) -> list[str]:
    """What a protection was learned from, and how the descent went."""
    found = protection.report.get("attributes", {})
    lines = [
        f"{name}: learned from {found[name]['labelled']:,} labels; vectors explain {found[name]['explained']:.0%} of it"
        for name in attributes
    ]
    if "statistics" in protection.report:
        before, after = protection.report["statistics"]
        lines.append(f"largest statistic (about 1 if labels were random): {before:.3g} -> {after:.3g}")
        if after > before:
            lines.append("warning: the largest statistic is larger than before; audit the vectors before you use them")
    return lines


def _left_out(path: Path, matrix: Matrix, name: str) -> list[str]:
    """Says what of a file was not written, because it is not protected."""
    held = {*matrix.views} - {name} | ({"interactions"} if matrix.activity is not None else set())
    return [f"{' and '.join(sorted(held))} of {path.name} left out: not protected"] if held else []


def _by_parts(out: Path) -> bool:
    return out.suffix == ".npy"


def _write_parts(protection: Protection, vectors: np.ndarray, file: BinaryIO) -> None:
    """Writes an npy file of the protected vectors, some rows at a time."""
    kind = as_given(vectors, np.zeros(0)).dtype
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": vectors.shape}
    np.lib.format.write_array_header_1_0(file, header)
    size = rows_at_once(vectors.shape[1])
    for first in range(0, len(vectors), size):
        part = vectors[first : first + size]
        bad = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if len(bad):
            raise AttributeDataError(
                f"the embeddings of row {first + bad[0]} are not finite. Drop this user or mend the vector; a training "
                "that has diverged gives such ones."
            )
        file.write(protection.transform(part).data)
        let_go(vectors)


def _write(
    out: Path,
    matrix: Matrix,
    protected: FloatArray | Callable[[BinaryIO], None],
    protection: Protection | None = None,
    kept: Path | None = None,
) -> None:
    """Writes protected users, and the map if there is one: both files whole, or none."""
    arrays = {} if matrix.tokens is None else {"user_tokens": matrix.tokens}

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            if not isinstance(protected, np.ndarray):
                protected(file)
            elif _by_parts(out):
                np.save(file, protected)
            else:
                np.savez(file, **arrays, embeddings=protected)  # type: ignore[arg-type]

    target = out
    try:
        with ExitStack() as undo:
            if protection is not None and kept is not None:
                target = kept
                protection.save(kept)
                undo.callback(kept.unlink)
            target = out
            write_whole(out, write)
            undo.pop_all()
    except OSError as error:
        raise ConfigValueError(f"cannot write '{target}': {error.strerror or error}. Give another file.") from error
