"""Kinds of RecBole's keys that our own keys do not need: intervals, protocols, negatives, columns of files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

from recbole_aia.config.keys import Count, Key, Number

_SPLITS = ("valid_and_test", "valid_only", "test_only")
_MODE = re.compile(r"full|labeled|(?:uni|pop)[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Described(Key):
    """A value that a function checks; ``words`` says what it accepts."""

    words: str = ""
    test: Callable[[Any], bool] = bool
    form: str = "str"

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return self.form

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return self.words

    def _accepts(self, value: Any) -> bool:
        return bool(self.test(value))


def is_interval(value: Any) -> bool:
    """Whether a value is one or several intervals as RecBole writes them, such as ``"[5,inf)"``."""
    # YAML makes a list of an interval [5,10] without quotes.
    text = str(value) if isinstance(value, list) else value
    return isinstance(text, str) and all(map(_is_single_interval, text.split(";")))


def _is_single_interval(text: str) -> bool:
    match = re.fullmatch(r"\s*[\[(]([^,]+),([^,]+)[\])]\s*", text)
    try:
        low, high = map(float, match.groups()) if match else (inf, -inf)
    except ValueError:
        return False
    return not isnan(low) and not isnan(high) and low <= high


def is_name(value: Any) -> bool:
    """Whether a value is a text that is not blank and holds no NUL."""
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def are_names(value: Any) -> bool:
    """Whether a value is a list of different names."""
    return isinstance(value, list | tuple) and all(map(is_name, value)) and len(set(value)) == len(value)


def is_separator(value: Any) -> bool:
    """Whether a value is one character that can separate values in a line."""
    return isinstance(value, str) and len(value) == 1 and value not in "\r\n\0"


def is_encoding(value: Any) -> bool:
    """Whether Python knows a text encoding of this name."""
    try:
        return isinstance(value, str) and isinstance("a".encode(value), bytes) and codecs.lookup(value) is not None
    except (LookupError, UnicodeError, ValueError):
        return False


def are_columns(value: Any) -> bool:
    """Whether a value maps suffixes of files, such as ``inter``, to lists of columns or to ``*``."""
    return _maps(value, lambda columns: columns is None or columns == "*" or are_names(columns))


def are_filters(value: Any) -> bool:
    """Whether a value maps fields to intervals, or to the values that stay."""
    return _maps(value, lambda kept: is_interval(kept) or (isinstance(kept, list | tuple) and bool(kept)))


def is_threshold(value: Any) -> bool:
    """Whether a value maps one field to a number."""
    return _maps(value, Number(0, "").accepts) and len(value) == 1


def is_clipping(value: Any) -> bool:
    """Whether a value holds the arguments of ``torch.nn.utils.clip_grad_norm_``."""
    known = {
        "max_norm": Number(0, "", low=0, above=True).accepts,
        "norm_type": lambda norm: norm in (inf, "inf") or Number(0, "", low=0, above=True).accepts(norm),
        "error_if_nonfinite": lambda flag: isinstance(flag, bool),
    }
    return _fits(value, known) and "max_norm" in value


def is_negative_sampling(value: Any) -> bool:
    """Whether a value holds settings of negatives in training, which RecBole completes with its defaults."""
    known = {
        "distribution": lambda name: name in (None, "None", "none", "uniform", "popularity"),
        "sample_num": lambda count: count in (None, "none") or Count(0, "", low=1, high=10_000).accepts(count),
        "alpha": lambda power: power in (None, "none") or Number(0, "").accepts(power),
        "dynamic": lambda flag: isinstance(flag, bool),
        "candidate_num": Count(0, "", high=10_000).accepts,
    }
    if not _fits(value, known):
        return False
    return not value.get("dynamic") or value.get("candidate_num", 0) > 0


def is_protocol(value: Any) -> bool:
    """Whether a value holds the split, the order, the groups and the candidates of an evaluation."""
    known = {
        "split": _is_split,
        "order": lambda order: order in ("RO", "TO"),
        "group_by": lambda group: group in (None, "user", "none", "None"),
        "mode": lambda mode: _is_mode(mode) or (_fits(mode, {"valid": _is_mode, "test": _is_mode}) and bool(mode)),
    }
    return _fits(value, known)


def _is_split(split: Any) -> bool:
    if not isinstance(split, Mapping) or len(split) != 1:
        return False
    ((way, parts),) = split.items()
    if way == "LS":
        return parts in _SPLITS
    share = Number(0, "", low=0, above=True).accepts
    return way in ("RS", "TS") and isinstance(parts, list) and len(parts) == 3 and all(map(share, parts))


def _is_mode(mode: Any) -> bool:
    return isinstance(mode, str) and _MODE.fullmatch(mode) is not None


def _maps(value: Any, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(is_name(name) and accepts(each) for name, each in value.items())


def _fits(value: Any, known: Mapping[str, Callable[[Any], bool]]) -> bool:
    return isinstance(value, Mapping) and all(name in known and known[name](each) for name, each in value.items())
