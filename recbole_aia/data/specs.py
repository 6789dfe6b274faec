"""Specifications of attributes: how a column of values becomes classes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_aia.config.natural import natural_key
from recbole_aia.errors import ConfigValueError

#: The class index of a user without a label.
MISSING = -1
#: Texts that mean "not known" in every column.
MISSING_MARKERS = ("", "nan", "NaN", "NULL", "null", "None", "-1")
_ENTRIES = ("field", "bins", "quantiles", "names", "classes", "merge", "range", "min_class", "missing")


class Encoded(NamedTuple):
    """Values as classes.

    Attributes:
        codes: ``[n]`` class indices from 0; -1 if the value is missing or belongs to no class.
        classes: the class names, in order.
        affected: number of values that each rule changed, without zeros: ``unknown`` (no class, or not a number),
            ``impossible`` (outside the range), ``merged`` (now in another class), ``small_class`` (class too small).
    """

    codes: np.ndarray
    classes: list[str]
    affected: dict[str, int]


@dataclass(frozen=True)
class AttributeSpec:
    """The rules that turn a column of the ``.user`` file into an attribute.

    The rules apply in this order: ``missing``; ``range``; ``bins``, ``quantiles``, or ``merge`` and ``classes``;
    ``min_class``.

    Args:
        name: the attribute's name in configurations and results.
        field: the column.
        bins: ascending edges that cut a numeric column; class k holds ``bins[k-1] <= value < bins[k]``.
        quantiles: number of classes, at least 2, of about equal size, into which a numeric column is cut.
        names: names of the ``len(bins) + 1`` classes; ``None`` makes them from the edges.
        classes: the values that are classes, in order. ``None`` takes all values of the column in natural order, which
            puts ``5-9`` before ``10-19``.
        merge: the values that form one class, by the name of that class.
        range: the lowest and the highest possible number. Numbers outside the range count as missing.
        min_class: users of a class with fewer users than this count as missing; 0 keeps every class.
        missing: values that mean "not known", besides :data:`MISSING_MARKERS`.
    """

    name: str
    field: str
    bins: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    quantiles: int | None = None
    merge: Mapping[str, tuple[str, ...]] | None = None
    range: tuple[float, float] | None = None
    min_class: int = 0

    @classmethod
    def from_mapping(cls, name: str, mapping: Mapping[str, Any]) -> AttributeSpec:
        """Builds a specification from a property file's entry.

        Raises:
            ConfigValueError: the entry has an unknown key, edges that do not ascend, a wrong number of names, or two
                keys that exclude each other.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigValueError(f"attributes.{name} is {mapping!r}. It must be like {{bins: [35, 46]}}.")
        unknown = set(mapping) - set(_ENTRIES)
        if unknown:
            raise ConfigValueError(
                f"attributes.{name} has an unknown entry '{sorted(map(str, unknown))[0]}'. "
                f"It takes {', '.join(_ENTRIES[:-1])} and {_ENTRIES[-1]}."
            )
        bins = mapping.get("bins")
        if bins is not None and (not _are_numbers(bins) or list(bins) != sorted(set(bins))):
            raise ConfigValueError(f"attributes.{name}.bins is {bins!r}. It must be ascending numbers.")
        names = _texts(name, "names", mapping)
        if names is not None and (bins is None or len(names) != len(bins) + 1):
            raise ConfigValueError(f"attributes.{name}.names has {len(names)} names. It must have one more than bins.")
        spec = cls(
            str(name),
            str(mapping.get("field", name)),
            None if bins is None else tuple(float(edge) for edge in bins),
            names,
            _texts(name, "classes", mapping),
            _texts(name, "missing", mapping) or (),
            _count(name, "quantiles", mapping, 2),
            _merged(name, mapping.get("merge")),
            _range(name, mapping.get("range")),
            _count(name, "min_class", mapping, 0) or 0,
        )
        given = [entry for entry in ("bins", "quantiles", "classes") if getattr(spec, entry) is not None]
        if len(given) > 1:
            raise ConfigValueError(f"attributes.{name} has {given[0]} and {given[1]}. Give one of them.")
        if spec.merge and spec.numeric:
            raise ConfigValueError(f"attributes.{name} has {given[0]} and merge. Classes of numbers need other edges.")
        return spec

    @property
    def numeric(self) -> bool:
        """Whether the classes are ranges of numbers."""
        return self.bins is not None or self.quantiles is not None

    def encode(self, values: pd.Series) -> Encoded:
        """Turns a column of strings, or ``NaN`` for no string, into class indices; see :class:`Encoded`."""
        text = values.astype("string").str.strip()
        text = text.mask(text.isin([*MISSING_MARKERS, *self.missing]))
        given = text.notna().to_numpy(bool)
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(float, na_value=np.nan)
        impossible = np.zeros(len(text), bool)
        if self.range is not None:
            impossible = (numbers < self.range[0]) | (numbers > self.range[1])
            numbers[impossible] = np.nan
            text = text.mask(impossible)
        merged = np.zeros(len(text), bool)
        if self.numeric:
            codes, classes = self._cut(numbers)
        else:
            into = {value: to for to, values in (self.merge or {}).items() for value in values}
            merged = text.isin(list(into)).to_numpy(bool)
            text = text.replace(into)
            classes = list(self.classes or sorted(text.dropna().unique(), key=natural_key))
            codes = pd.Categorical(text, categories=classes).codes.astype(np.int64)
        unknown = given & ~impossible & (codes == MISSING)
        codes, classes, small = self._without_small_classes(codes, classes)
        masks = {"unknown": unknown, "impossible": impossible, "merged": merged, "small_class": small}
        return Encoded(codes, classes, {rule: int(mask.sum()) for rule, mask in masks.items() if mask.any()})

    def _without_small_classes(self, codes: np.ndarray, classes: list[str]) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Indices and classes without the classes below ``min_class``, and a mask of the values in such classes."""
        sizes = np.bincount(codes[codes >= 0], minlength=len(classes))
        small = np.isin(codes, np.flatnonzero(sizes < self.min_class))
        if not small.any():
            return codes, classes, small
        kept = np.flatnonzero(sizes >= self.min_class)
        places = np.full(len(classes), MISSING)
        places[kept] = np.arange(kept.size)
        return np.where(codes >= 0, places[codes], MISSING), [classes[k] for k in kept], small

    def _cut(self, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Class indices of numbers, -1 for ``NaN``, and the names of the classes."""
        edges = self.bins or ()
        if self.quantiles is not None:
            known = numbers[~np.isnan(numbers)]
            shares = np.arange(1, self.quantiles) / self.quantiles
            # A number that many users share can be several quantiles at once. There are fewer classes then.
            edges = tuple(np.unique(np.quantile(known, shares, method="higher"))) if known.size else ()
            edges = tuple(edge for edge in edges if edge > known.min())
        codes = np.searchsorted(np.asarray(edges), numbers, side="right")
        return np.where(np.isnan(numbers), MISSING, codes), list(self.names or _bin_names(edges))


def _bin_names(bins: Sequence[float]) -> list[str]:
    edges = [f"{edge:g}" for edge in bins]
    if len(set(edges)) < len(edges):
        edges = [repr(float(edge)) for edge in bins]
    middle = [f"{low} to <{high}" for low, high in itertools.pairwise(edges)]
    return [f"<{edges[0]}", *middle, f">={edges[-1]}"] if edges else ["all"]


def _texts(name: str, entry: str, mapping: Mapping[str, Any]) -> tuple[str, ...] | None:
    values = mapping.get(entry)
    if values is None:
        return None
    values = values if isinstance(values, list | tuple) else [values]
    texts = tuple(str(value) for value in values)
    # YAML reads no, yes, on and off as truth values, and str(True) is not the text in the data.
    if len(set(texts)) < len(texts) or any(isinstance(value, bool | list | dict) for value in values):
        raise ConfigValueError(
            f'attributes.{name}.{entry} is {values!r}. It must be different texts; quote "yes", "no".'
        )
    return texts


def _count(name: str, entry: str, mapping: Mapping[str, Any], least: int) -> int | None:
    value = mapping.get(entry)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return value
    raise ConfigValueError(f"attributes.{name}.{entry} is {value!r}. It must be a whole number >= {least}.")


def _range(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not _are_numbers(value) or len(value) != 2 or not value[0] <= value[1]:
        raise ConfigValueError(f"attributes.{name}.range is {value!r}. It must be two numbers such as [5, 100].")
    return float(value[0]), float(value[1])


def _merged(name: str, merge: Any) -> dict[str, tuple[str, ...]] | None:
    if merge is None:
        return None
    if not isinstance(merge, Mapping) or not merge:
        raise ConfigValueError(f"attributes.{name}.merge is {merge!r}. It must be like {{other: [a, b]}}.")
    merged = {str(to): _texts(f"{name}.merge", to, merge) or () for to in merge}
    values = [value for group in merged.values() for value in group]
    if len(set(values)) < len(values):
        raise ConfigValueError(f"attributes.{name}.merge has a value in two classes. Keep one of them.")
    return merged


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(v, int | float) for v in values)
