"""The labels of a dataset's users.

Labels are read from the dataset's ``.user`` file and not through RecBole's user features. Loading user features drops
users without a line in that file, adds users who have a line there and no interaction, and imputes missing values.
Reading the file apart keeps every run, defended or not, on exactly the interactions that stock RecBole sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recbole_aia.config.hints import closest
from recbole_aia.config.small import shown_count
from recbole_aia.data.dataset import interactions_by_user
from recbole_aia.data.specs import MISSING, AttributeSpec
from recbole_aia.data.user_files import conflicts, prepared_counts, read_user_file
from recbole_aia.errors import AttributeDataError, ConfigValueError

_MOST_CLASSES = 500  # classes of an attribute; attackers learn one column of weights a class
_SMALLEST_CLASS = 5  # users that a class needs to count as usable; ours: one test user in each of five folds


@dataclass(frozen=True)
class LabelTable:
    """The labels of all users, by RecBole's internal user id.

    Attributes:
        labels: ``[n_users, n_attributes]``, long; -1 where missing, and in row 0, the padding user.
        names: the attributes, in column order.
        classes: class names by attribute.
        absent: number of users in the file who are not users of the dataset.
        affected: how many users each rule of an attribute affected, by attribute and rule; see ``Encoded``. Two counts
            from before any filter stand beside the rules: ``conflicting_users``, whose lines contradict each other,
            and, if ``recbole-aia prepare`` made the data, its ``raw_`` counts such as ``raw_missing``.
        count: counts the interactions of each user, ``[n_users]``; ``None`` where there is no dataset.
        users: original ids of the users ``1..n_users-1``; ``None`` if unknown.
    """

    labels: Tensor
    names: tuple[str, ...]
    classes: dict[str, list[str]]
    absent: int = 0
    affected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    count: Callable[[], Tensor] | None = field(default=None, repr=False, compare=False)
    users: NDArray[np.str_] | None = None

    def column(self, name: str) -> Tensor:
        """The labels ``[n_users]`` of one attribute."""
        return self.labels[:, self.names.index(name)]

    def activity(self) -> Tensor | None:
        """Number of interactions of each user but the padding user, ``[n_users - 1]``; ``None`` if not known.

        Counted when it is asked for: a defense without interactions reads none.
        """
        return None if self.count is None else self.count()[1:]

    def columns(self) -> dict[str, np.ndarray]:
        """The labels ``[n_users - 1]`` of all users but the padding user, by attribute."""
        return {name: self.column(name)[1:].numpy() for name in self.names}

    def counts(self, name: str) -> dict[str, int]:
        """Number of users in each class."""
        column = self.column(name)
        sizes = torch.bincount(column[column >= 0], minlength=len(self.classes[name]))
        return dict(zip(self.classes[name], sizes.tolist(), strict=True))

    def missing(self, name: str) -> int:
        """Number of users without a label; the padding user does not count."""
        return int((self.column(name)[1:] < 0).sum())

    def remarks(self) -> list[str]:
        """A line for each attribute of which lines of the file contradict each other."""
        counts = {name: self.affected.get(name, {}).get("conflicting_users", 0) for name in self.names}
        said = "users have lines that contradict each other; their last line counts"
        return [f"{name}: {count} {said}" for name, count in counts.items() if count]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Class sizes, missing users and affected users of each attribute, as ``data`` in results.json has them.

        Sizes below five are the text ``<5``.
        """
        return {
            name: {"classes": _shown(self.counts(name)), "missing": self.missing(name)}
            | ({"affected": _affected(self.affected[name])} if self.affected.get(name) else {})
            for name in self.names
        }


def _shown(counts: Mapping[str, int]) -> dict[str, int | str]:
    return {name: shown_count(count) for name, count in counts.items()}


def _affected(counts: Mapping[str, int]) -> dict[str, int | str]:
    """The counts of rules; that of ``small_class`` may be the size of a single class."""
    return {rule: shown_count(count) if rule == "small_class" else count for rule, count in counts.items()}


def attribute_specs(config: Any, columns: Sequence[str]) -> list[AttributeSpec]:
    """The specifications of the attributes that ``config['attributes']`` asks for.

    A name that the dataset's property file does not define stands for the column of that name in the ``.user`` file.

    Raises:
        ConfigValueError: an attribute is neither defined nor a column.
    """
    defined: dict[str, Any] = config["attribute_specs"] or {}
    wanted = config["attributes"]
    if not wanted:
        raise ConfigValueError(
            f"no attributes are given for {config['dataset']}. "
            f"Write --attributes=[{','.join([*defined, *columns][:2])}], for example."
        )
    overrides = wanted if isinstance(wanted, dict) else dict.fromkeys(wanted, None)
    specs = []
    for name, override in overrides.items():
        inherited, given = defined.get(name) or {}, {} if override is None else override
        if isinstance(inherited, Mapping) and isinstance(given, Mapping):
            kept = {k: v for k, v in inherited.items() if k != "names" or "bins" not in given}
            spec = AttributeSpec.from_mapping(name, {**kept, **given})
        else:
            spec = AttributeSpec.from_mapping(name, given or inherited)
        if spec.field not in columns:
            raise ConfigValueError(_no_such_attribute(name, spec.field, config["dataset"], defined, columns))
        specs.append(spec)
    return specs


def load_labels(config: Any, dataset: Any) -> LabelTable:
    """Reads the labels of a dataset's users.

    Args:
        config: a configuration with ``attributes`` and ``attribute_specs``.
        dataset: RecBole's dataset, which has the users' ids and the folder.

    Returns:
        The labels of the users in ``dataset``. Users without an interaction are not in the table. Users without a line
        in the file have missing labels.

    Raises:
        AttributeDataError: there is no ``.user`` file, or an attribute has no usable classes.
        ConfigValueError: the dataset does not have one of the attributes.
    """
    path = Path(dataset.dataset_path) / f"{dataset.dataset_name}.user"
    table = read_labels(config, path, dataset.field2token_id[dataset.uid_field], dataset.user_num)
    return replace(table, count=lambda: F.pad(torch.from_numpy(interactions_by_user(dataset)), (1, 0)))


def read_labels(config: Any, path: Path, ids: Mapping[str, int], n_users: int) -> LabelTable:
    """Reads labels from a ``.user`` file for users with given ids; see :func:`load_labels`.

    Args:
        config: a configuration with the attributes, and with the separator and the encoding of the file.
        path: the file.
        ids: internal ids by user token, in ``1..n_users-1`` (0 is the padding user).
        n_users: number of users, the padding user included.
    """
    frame = read_user_file(path, config)
    specs = attribute_specs(config, list(frame.columns))
    prepared, raw = prepared_counts(path)
    different = conflicts(frame, config["USER_ID_FIELD"]) | prepared
    frame = frame.drop_duplicates(config["USER_ID_FIELD"], keep="last")
    rows = frame[config["USER_ID_FIELD"]].map(ids).fillna(0).to_numpy(np.int64)
    table = label_table(frame, rows, n_users, specs, config["dataset"], list(config["attribute_specs"] or {}))
    before = {spec.name: different.get(spec.field, {}) | raw.get(spec.name, {}) for spec in specs}
    tokens = sorted((token for token in ids if ids[token]), key=lambda token: ids[token])
    affected = {name: {**table.affected[name], **before[name]} for name in before}
    return replace(table, affected=affected, users=np.array(tokens, dtype=np.str_))


def label_table(
    frame: pd.DataFrame,
    rows: np.ndarray,
    n_users: int,
    specs: Sequence[AttributeSpec],
    source: str,
    defined: Sequence[str] = (),
) -> LabelTable:
    """Makes the labels of users from columns of texts.

    Args:
        frame: one line for each user of the file, columns of strings.
        rows: the internal id of each line's user, ``[len(frame)]``; 0 if the user gets no labels.
        n_users: number of users, the padding user included.
        specs: the attributes; their fields are columns of ``frame``.
        source: the name of the data in messages.
        defined: the attributes that the dataset's property file offers.

    Raises:
        AttributeDataError: an attribute has no usable classes.
    """
    asked = rows > 0
    labels = torch.full((n_users, len(specs)), MISSING, dtype=torch.long)
    classes, affected = {}, {}
    for column, spec in enumerate(specs):
        codes, classes[spec.name], affected[spec.name] = spec.encode(frame.loc[asked, spec.field])
        labels[torch.from_numpy(rows[asked]), column] = torch.tensor(codes, dtype=torch.long)
    table = LabelTable(labels, tuple(spec.name for spec in specs), classes, int((~asked).sum()), affected)
    for spec in specs:
        _check_column(frame, spec, table, source)
        _check_usable(table, spec, source, defined)
    return table


def _check_column(frame: pd.DataFrame, spec: AttributeSpec, table: LabelTable, dataset: str) -> None:
    """Refuses a column without a single value that fits the attribute, and names a column that has some."""
    if not (spec.classes or spec.numeric) or any(table.counts(spec.name).values()):
        return
    others = [name for name in frame.columns if name != spec.field and (spec.encode(frame[name]).codes >= 0).any()]
    expected = f"is one of {', '.join(spec.classes)}" if spec.classes else "is a possible number"
    fitting = f"'{others[0]}' has such values" if len(others) == 1 else "Name the right one"
    raise AttributeDataError(
        f"no value of the column '{spec.field}' in the labels of {dataset} {expected}. Are columns swapped? {fitting}: "
        f"'--attributes={{{spec.name}: {{field: {others[0] if others else 'COLUMN'}}}}}'."
    )


def _check_usable(table: LabelTable, spec: AttributeSpec, dataset: str, defined: Sequence[str]) -> None:
    counts = table.counts(spec.name)
    small = sum(size < _SMALLEST_CLASS for size in counts.values())
    others = [name for name in defined if name != spec.name]
    choose = f" or choose {' or '.join(others)}, which {dataset}.yaml defines" if others else ""
    where = f"attribute '{spec.name}' of {dataset} has {len(counts)} classes, {small} of them with fewer than"
    if len(counts) - small < 2:
        raise AttributeDataError(
            f"{where} {_SMALLEST_CLASS} users: nothing is left to tell apart. "
            f"Check attributes.{spec.name}.field, bins and classes{choose}."
        )
    if small > max(1, 0.2 * len(counts)):
        raise AttributeDataError(
            f"{where} {_SMALLEST_CLASS} users. Give it bins (attributes.{spec.name}.bins: [35, 46]){choose}."
        )
    if len(counts) > _MOST_CLASSES:
        raise AttributeDataError(
            f"attribute '{spec.name}' of {dataset} has {len(counts)} classes, and at most {_MOST_CLASSES} can be "
            f"attacked. Give it bins or merge classes (attributes.{spec.name}.merge){choose}."
        )


def _no_such_attribute(name: str, column: str, dataset: str, defined: Mapping[str, Any], columns: Sequence[str]) -> str:
    if name != column:
        return f"attribute '{name}' needs the column '{column}', which the labels of {dataset} do not have."
    offered = list(dict.fromkeys([*defined, *columns]))
    meant = closest(name, offered)
    hint = f"Did you mean '{meant}'?" if meant else f"Choose among {', '.join(offered)}."
    return f"{dataset} has no attribute '{name}'. {hint}"
