"""Kinds of RecBole's keys that our own keys do not need: intervals, protocols, negatives, columns of files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Any

from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.keys import Key, Number
from recbole_aia.errors import ConfigValueError, shown

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


@dataclass(frozen=True)
class Nested(Key):
    """A mapping whose entries are declared as keys are; ``needed`` lists entries that must be there."""

    entries: Mapping[str, Key] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "dict"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        needed = f", with {' and '.join(self.needed)}" if self.needed else ""
        return f"a mapping of {', '.join(self.entries)}{needed}"

    def _accepts(self, value: Any) -> bool:
        known = isinstance(value, Mapping) and value.keys() <= self.entries.keys() and set(self.needed) <= value.keys()
        return known and all(self.entries[name].accepts(each) for name, each in value.items())

    def check(self, name: str, value: Any) -> None:
        """See :meth:`Key.check`; the message is about the first entry that is wrong."""
        for entry, each in value.items() if isinstance(value, Mapping) else ():
            if entry not in self.entries:
                meant = did_you_mean(str(entry), self.entries)
                offered = ", ".join(self.entries)
                raise ConfigValueError(f"{name} has an unknown entry {shown(entry)}.{meant} It takes {offered}.")
            self.entries[entry].check(f"{name}.{entry}", each)
        super().check(name, value)


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


def is_split(split: Any) -> bool:
    """Whether a value is one way to split interactions: three shares, or the last interactions of each user."""
    if not isinstance(split, Mapping) or len(split) != 1:
        return False
    ((way, parts),) = split.items()
    if way == "LS":
        return parts in _SPLITS
    share = Number(0, "", low=0, above=True).accepts
    return way in ("RS", "TS") and isinstance(parts, list) and len(parts) == 3 and all(map(share, parts))


def is_mode(mode: Any) -> bool:
    """Whether a value says which items are ranked, for both parts or for each of ``valid`` and ``test``."""
    if isinstance(mode, Mapping):
        return bool(mode) and all(part in ("valid", "test") and _is_mode(each) for part, each in mode.items())
    return _is_mode(mode)


def _is_mode(mode: Any) -> bool:
    return isinstance(mode, str) and _MODE.fullmatch(mode) is not None


def _maps(value: Any, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(is_name(name) and accepts(each) for name, each in value.items())
