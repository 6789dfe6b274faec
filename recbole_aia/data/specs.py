"""What an attribute is: how a column of values becomes classes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recbole_aia.errors import ConfigValueError

MISSING = -1
_MISSING_MARKERS = ("", "nan", "NaN", "NULL", "null", "None", "-1")


@dataclass(frozen=True)
class AttributeSpec:
    """How an attribute is made of a column of the ``.user`` file.

    Args:
        name: what the attribute is called in configurations and results.
        field: the column.
        bins: ascending edges that cut a numeric column; class k holds ``bins[k-1] <= value < bins[k]``.
        names: names of the ``len(bins) + 1`` classes; made from the edges where absent.
        classes: the values that are classes, in order; ``None`` takes the values found, sorted.
        missing: values that mean "not known", besides the usual ones.
    """

    name: str
    field: str
    bins: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, name: str, mapping: Mapping[str, Any]) -> AttributeSpec:
        """Builds a specification from a property file's entry.

        Raises:
            ConfigValueError: an unknown entry, edges that do not ascend, or a wrong number of names.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigValueError(f"attributes.{name} is {mapping!r}. It must be like {{bins: [35, 46]}}.")
        unknown = set(mapping) - {"field", "bins", "names", "classes", "missing"}
        if unknown:
            raise ConfigValueError(
                f"attributes.{name} has an unknown entry '{sorted(map(str, unknown))[0]}'. "
                "It takes field, bins, names, classes and missing."
            )
        bins = mapping.get("bins")
        if bins is not None and (not _are_numbers(bins) or list(bins) != sorted(set(bins))):
            raise ConfigValueError(f"attributes.{name}.bins is {bins!r}. It must be ascending numbers.")
        names = _texts(name, "names", mapping)
        if names is not None and (bins is None or len(names) != len(bins) + 1):
            raise ConfigValueError(f"attributes.{name}.names has {len(names)} names. It must have one more than bins.")
        return cls(
            str(name),
            str(mapping.get("field", name)),
            None if bins is None else tuple(float(edge) for edge in bins),
            names,
            _texts(name, "classes", mapping),
            _texts(name, "missing", mapping) or (),
        )

    def encode(self, values: pd.Series) -> tuple[np.ndarray, list[str]]:
        """Turns a column of strings into class indices.

        Args:
            values: ``[n]`` strings, ``NaN`` where there is none.

        Returns:
            ``[n]`` indices from 0, -1 where the value is missing or not a class; and the class names.
        """
        text = values.astype("string").str.strip()
        known = text.notna() & ~text.isin([*_MISSING_MARKERS, *self.missing])
        if self.bins is not None:
            numbers = pd.to_numeric(text.where(known), errors="coerce").to_numpy(float, na_value=np.nan)
            codes = np.searchsorted(np.asarray(self.bins), numbers, side="right")
            return np.where(np.isnan(numbers), MISSING, codes), list(self.names or self._bin_names())
        classes = list(self.classes or sorted(text[known].unique(), key=_natural))
        codes = pd.Categorical(text.where(known), categories=classes).codes
        return codes.astype(np.int64), classes

    def _bin_names(self) -> list[str]:
        edges = [f"{edge:g}" for edge in self.bins or ()]
        middle = [f"{low} to <{high}" for low, high in itertools.pairwise(edges)]
        return [f"<{edges[0]}", *middle, f">={edges[-1]}"]


def _texts(name: str, entry: str, mapping: Mapping[str, Any]) -> tuple[str, ...] | None:
    values = mapping.get(entry)
    if values is None:
        return None
    values = values if isinstance(values, list | tuple) else [values]
    texts = tuple(str(value) for value in values)
    # YAML reads no, yes, on and off as truth values, whose text is none of the data's.
    if len(set(texts)) < len(texts) or any(isinstance(value, bool | list | dict) for value in values):
        raise ConfigValueError(
            f'attributes.{name}.{entry} is {values!r}. It must be different texts; quote "yes", "no".'
        )
    return texts


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(v, int | float) for v in values)


def _natural(value: str) -> tuple[int, float, str]:
    """Sorts numbers by value and before words, so that class 10 follows class 9."""
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
