"""Collects the users' attributes: resolves conflicts between rows, and checks columns by their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from recbole_aia.data.converters.interactions import Index
from recbole_aia.data.specs import MISSING_MARKERS, AttributeSpec
from recbole_aia.errors import RawDataError

#: Which of a user's several values counts: the value of most rows, the value of the last row, or no value.
Conflicts = Literal["majority", "last", "drop"]
CONFLICTS: tuple[Conflicts, ...] = ("majority", "last", "drop")


@dataclass
class Profiles:
    """Rows with attributes of users; a user can have several rows. The lists hold one array for each part read.

    Args:
        fields: the columns of attributes.

    Attributes:
        users: the number of each row's user.
        values: the number of each row's value, by column.
        times: the time of each row; rows of equal times count in the order of the file.
        lines: the line number of each row.
        tokens: the values and their numbers, by column.
    """

    fields: Sequence[str]
    users: list[np.ndarray] = field(default_factory=list)
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    times: list[np.ndarray] = field(default_factory=list)
    lines: list[np.ndarray] = field(default_factory=list)
    tokens: dict[str, Index] = field(default_factory=dict)

    def add(
        self, users: np.ndarray, texts: Mapping[str, list[str]], lines: np.ndarray, times: np.ndarray | None = None
    ) -> None:
        """Takes some rows: users' numbers ``[n]``, columns of texts, line numbers ``[n]`` and times ``[n]``."""
        self.users.append(users)
        self.lines.append(lines)
        self.times.append(np.zeros(len(users)) if times is None else times)
        for name in self.fields:
            index = self.tokens.setdefault(name, Index())
            self.values.setdefault(name, []).append(index.numbers(map(str.strip, texts[name]), len(users)))

    def frame(
        self, n_users: int, specs: Sequence[AttributeSpec], policy: Conflicts
    ) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
        """Makes one row for each user.

        Args:
            n_users: the number of users.
            specs: the attributes, which say what else means "missing".
            policy: which value counts if a user has several.

        Returns:
            A frame ``[n_users]`` of texts, empty for unknown values; and the conflicts of each column as
            :func:`resolve` counts them.
        """
        if not self.users:
            return pd.DataFrame({name: [""] * n_users for name in self.fields}), {}
        users, times = np.concatenate(self.users), np.concatenate(self.times)
        columns, conflicts = {}, {}
        for name in self.fields:
            missing = {*MISSING_MARKERS, *(marker for spec in specs if spec.field == name for marker in spec.missing)}
            tokens = list(self.tokens[name])
            known = np.array([token not in missing for token in tokens], bool)
            values = np.concatenate(self.values[name])
            rows = known[values]
            chosen, counts = resolve(users[rows], values[rows], times[rows], n_users, policy)
            columns[name] = [tokens[value] if value >= 0 else "" for value in chosen.tolist()]
            if counts:
                conflicts[name] = counts
        return pd.DataFrame(columns, dtype=object), conflicts

    def check(self, spec: AttributeSpec, path: object) -> None:
        """Refuses a column if most of its values do not fit the attribute, and names a column whose values fit.

        If some values fit and no other column fits better, the column stays: an attribute may name few of the classes.

        Raises:
            RawDataError: columns are swapped, or hold something else.
        """
        if not (spec.classes or spec.numeric) or not self.users:
            return
        wrong, total, line, value = self._misfits(spec, spec.field)
        if wrong * 2 <= total:
            return
        fitting = [name for name in self.fields if name != spec.field and self._fits(spec, name)]
        if wrong < total and not fitting:
            return
        hint = f"The column '{fitting[0]}' has such values: are the two swapped?" if fitting else "Is a column missing?"
        expected = f"none of {', '.join(spec.classes)}" if spec.classes else "no possible number"
        raise RawDataError(
            f"'{path}', line {line}: '{spec.field}' is '{value[:40]}', which is {expected}, and so are {wrong:,} of "
            f"{total:,} values. {hint}"
        )

    def _fits(self, spec: AttributeSpec, name: str) -> bool:
        wrong, total, _, _ = self._misfits(spec, name)
        return total > 0 and wrong * 2 <= total

    def _misfits(self, spec: AttributeSpec, name: str) -> tuple[int, int, int, str]:
        """Number of rows whose value does not fit, number of rows with a value, line and value of the first misfit."""
        tokens = list(self.tokens[name])
        text = pd.Series(tokens, dtype=object)
        known = ~text.isin([*MISSING_MARKERS, *spec.missing]).to_numpy(bool)
        fits = replace(spec, min_class=0).encode(text).codes >= 0
        values = np.concatenate(self.values[name])
        wrong = (known & ~fits)[values]
        first = int(np.argmax(wrong))
        return int(wrong.sum()), int(known[values].sum()), int(np.concatenate(self.lines)[first]), tokens[values[first]]


def resolve(
    users: np.ndarray, values: np.ndarray, times: np.ndarray, n_users: int, policy: Conflicts
) -> tuple[np.ndarray, dict[str, int]]:
    """Chooses one value for each user.

    Args:
        users: ``[n]`` the user of each row.
        values: ``[n]`` the value of each row, from 0.
        times: ``[n]`` the time of each row; rows of equal times count in their order.
        n_users: the number of users.
        policy: which value counts if a user has several. A tie is no majority.

    Returns:
        The values ``[n_users]``, -1 for no value; and two counts, left out if 0: ``users`` with several values, and
        ``no_majority``, the users among them with a tie.
    """
    chosen = np.full(n_users, -1, np.int64)
    order = np.lexsort((times, users))
    chosen[users[order]] = values[order]  # NumPy assigns in order, so a user's last value stays
    if not len(users) or np.bincount(users).max() <= 1:
        return chosen, {}
    span = int(values.max()) + 1
    pairs, counts = np.unique(users.astype(np.int64) * span + values, return_counts=True)
    owners, options = np.divmod(pairs, span)
    several = np.bincount(owners, minlength=n_users) > 1
    if not several.any():
        return chosen, {}
    found = {"users": int(several.sum())}
    if policy == "drop":
        chosen[several] = -1
    if policy == "majority":
        most = np.zeros(n_users, np.int64)
        np.maximum.at(most, owners, counts)
        leading = counts == most[owners]
        tied = np.bincount(owners[leading], minlength=n_users) > 1
        chosen[owners[leading]] = options[leading]
        chosen[tied] = -1
        found["no_majority"] = int(tied.sum())
    return chosen, {name: count for name, count in found.items() if count}
