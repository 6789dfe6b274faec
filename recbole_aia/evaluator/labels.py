"""Turns labels as users give them into the classes that are attacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from recbole_aia.config.natural import natural_key
from recbole_aia.config.small import shown_count
from recbole_aia.config.types import IntArray
from recbole_aia.errors import AttributeDataError


class TooFewUsersError(AttributeDataError):
    """An attribute with fewer than two classes of a usable size, in which nothing can be told apart."""


@dataclass(frozen=True)
class AttackedAttribute:
    """One attribute as it is attacked.

    Attributes:
        name: the attribute.
        users: rows of the embeddings that are attacked, ``[n]``.
        codes: their classes in ``0..K-1``, ``[n]``, each with at least as many members as folds.
        class_names: names of the K classes.
        missing: users without a label.
        left_out: classes with too few members, and how many; their users are not attacked.
    """

    name: str
    users: IntArray
    codes: IntArray
    class_names: tuple[str, ...]
    missing: int
    left_out: dict[str, int]


def label_columns(labels: Any) -> dict[str, Any]:
    """Labels by attribute; a column without a name is called ``attribute``."""
    if isinstance(labels, pd.DataFrame):
        return {str(name): labels[name] for name in labels.columns}
    if isinstance(labels, Mapping):
        return {str(name): values for name, values in labels.items()}
    return {"attribute": labels}


def encode_labels(
    name: str,
    labels: Any,
    n_users: int,
    folds: int,
    class_names: Sequence[str] | None = None,
    *,
    advice: str = "Merge classes, add labels, or set a smaller attack_folds.",
) -> AttackedAttribute:
    """Finds the classes of one attribute and the users that can be attacked.

    Args:
        name: the attribute.
        labels: one number or string a user, ``[n_users]``; -1, None, NaN and "" are missing.
        n_users: rows of the embeddings.
        folds: smallest class that can be attacked.
        class_names: names of the classes ``0..K-1``; found in the labels where absent.
        advice: what the caller's user can do where there are too few classes.

    Raises:
        TooFewUsersError: fewer than two classes of a usable size.
        AttributeDataError: labels of another shape, or a label that names no class.
    """
    # Missing values are found among the distinct ones: looking at every user's would take seconds for a million.
    found, uniques = pd.factorize(_one_per_user(name, labels, n_users))
    known = ~pd.Series(uniques, dtype=object).isin(["", -1]).to_numpy(dtype=bool)
    present = np.append(known, False)[found]
    names, code_of = _classes(name, list(uniques[known]), class_names)
    codes = np.asarray(code_of, dtype=np.int64)[(np.cumsum(known) - 1)[found[present]]]
    counts = np.bincount(codes, minlength=len(names))
    usable = counts >= folds
    if usable.sum() < 2:
        raise TooFewUsersError(f"{_too_few(name, names, counts, folds, n_users - len(codes))} {advice}")
    attacked = usable[codes]
    renumbered = np.cumsum(usable) - 1
    return AttackedAttribute(
        name,
        np.flatnonzero(present)[attacked],
        renumbered[codes[attacked]],
        tuple(label for label, use in zip(names, usable, strict=True) if use),
        n_users - len(codes),
        {names[k]: int(counts[k]) for k in np.flatnonzero(~usable)},
    )


def _one_per_user(name: str, labels: Any, n_users: int) -> Any:
    """The labels, ``[n_users]``: numbers of an array as they are, all others as Python objects."""
    array = labels.to_numpy() if isinstance(labels, pd.Series) else labels
    if np.ndim(array) != 1 or len(array) != n_users:
        raise AttributeDataError(
            f"attribute '{name}' has labels of shape {np.shape(array)} for {n_users} users. "
            "Give one label per row of the embeddings; -1, None, NaN or '' where it is not known."
        )
    return (
        array if isinstance(array, np.ndarray) and array.dtype.kind in "iuf" else pd.Series(list(array), dtype=object)
    )


def _classes(name: str, values: list[Any], class_names: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """The classes' names in order, and the class of each distinct value."""
    if class_names is not None:
        names = [str(label) for label in class_names]
        return names, [_position(name, value, names) for value in values]
    if all(isinstance(value, Real) for value in values):
        names = list(dict.fromkeys(map(_text, sorted(values))))
    else:
        names = sorted(set(map(_text, values)), key=natural_key)
    return names, [names.index(_text(value)) for value in values]


def _position(name: str, value: Any, names: list[str]) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if isinstance(value, Real) and float(value).is_integer() and 0 <= float(value) < len(names):
        return int(float(value))
    raise AttributeDataError(
        f"attribute '{name}' has the label {value!r}, but its {len(names)} classes are "
        f"{', '.join(names)}. Use those names, 0 to {len(names) - 1}, or -1 where it is not known."
    )


def _text(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        number = float(value)
        return str(int(number)) if number.is_integer() else str(number)
    return str(value)


def _too_few(name: str, names: list[str], counts: IntArray, folds: int, missing: int) -> str:
    largest = sorted(zip(counts.tolist(), names, strict=True), key=lambda pair: -pair[0])[:5]
    shown = ", ".join(f"{label}: {shown_count(count)}" for count, label in largest) or "no label at all"
    return (
        f"attribute '{name}' has {int((counts >= folds).sum())} of {len(names)} classes with at "
        f"least {folds} users (largest: {shown}; {missing} users without a label); an attack needs two."
    )
