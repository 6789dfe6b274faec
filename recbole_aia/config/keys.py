"""Declarations of configuration keys: one declaration holds a key's type, range, default and text.

A defense declares its keys in its class, and the evaluator declares the keys of the attack. Property files,
``recbole-aia run --help``, the check of values, the search for misspelt keys and the reference in ``docs/`` come from
these declarations.

Example:
    >>> from recbole_aia import keys
    >>> rank = keys.Count(1, "Directions that are removed for each attribute.", low=1)
    >>> rank.accepts(2), rank.accepts(0), rank.expected
    (True, False, 'a whole number >= 1')
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal

from recbole_aia.errors import ConfigValueError, shown


@dataclass(frozen=True)
class Key(ABC):
    """The declaration of a key. The mapping that lists the declaration holds the key's name.

    Attributes:
        default: the value if none is given. A key accepts ``None`` (``~`` in YAML) only if that is its default.
        text: what the key does, in a sentence or two; if the default is ``~``, the text says what ``~`` means.
        decides: the numbers on which the key has an effect. ``defense``: the defended model or the attack;
            ``training``: the undefended model too; ``presentation``: no number, only how a run is shown or stored.
    """

    default: Any
    text: str
    decides: Literal["defense", "training", "presentation"] = "defense"

    @property
    @abstractmethod
    def kind(self) -> str:
        """The type and the range for property files, such as ``int >= 1``."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The accepted values in words, such as "a whole number >= 1"; messages put "It must be" before it."""

    @abstractmethod
    def _accepts(self, value: Any) -> bool:
        """Whether a value other than ``None`` is allowed."""

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed."""
        return self.default is None if value is None else self._accepts(value)

    def check(self, name: str, value: Any) -> None:
        """Raises :class:`ConfigValueError` if a value is not allowed; ``name`` is the key's name."""
        if not self.accepts(value):
            null = ", or null" if self.default is None else ""
            raise ConfigValueError(f"{name} is {shown(value)}. It must be {self.expected}{null}.")


# Models compute in single precision, where the square of a number outside these sizes is infinite or 0.
_LARGEST, _SMALLEST = 1e18, 1e-18
_MOST = 2**31 - 1  # the largest whole number that every library here can hold


@dataclass(frozen=True)
class Number(Key):
    """A finite number from ``low`` to ``high``; with ``above``, ``low`` itself is not allowed.

    Numbers whose size, sign aside, is above 1e18, or below 1e-18 and not 0, are not allowed.
    """

    low: float = -inf
    high: float = inf
    above: bool = False

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return (
            f"float in [{self.low:g}, {self.high:g}]" if self.high < inf else self.expected.replace("a number", "float")
        )

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        if self.high < inf:
            return f"a number {'above' if self.above else 'from'} {self.low:g}{' and up' * self.above} to {self.high:g}"
        if self.low > -inf:
            return f"a number {'>' if self.above else '>='} {self.low:g}"
        return "a number"

    def _accepts(self, value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and _has_ordinary_size(value)
        return is_number and (value > self.low if self.above else value >= self.low) and value <= self.high

    def check(self, name: str, value: Any) -> None:
        """See :meth:`Key.check`; a size that single precision cannot hold has its own message."""
        if isinstance(value, int | float) and isfinite(value) and not _has_ordinary_size(value):
            raise ConfigValueError(f"{name} is {shown(value)}. Its size must be from 1e-18 to 1e18, or 0.")
        super().check(name, value)


def _has_ordinary_size(value: float) -> bool:
    return value == 0 or _SMALLEST <= abs(value) <= _LARGEST


@dataclass(frozen=True)
class Share(Key):
    """A number between 0 and 1, both excluded."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "float in (0, 1)"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a number between 0 and 1"

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


@dataclass(frozen=True)
class Shares(Share):
    """A number between 0 and 1, or a list of such numbers."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "list of float in (0, 1)"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a share in (0, 1) or a list of them"

    def _accepts(self, value: Any) -> bool:
        shares = value if isinstance(value, list | tuple) else [value]
        return bool(shares) and all(super(Shares, self)._accepts(share) for share in shares)


@dataclass(frozen=True)
class Count(Key):
    """A whole number of at least ``low`` and at most ``high``."""

    low: int = 0
    high: int = _MOST

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return f"int >= {self.low}"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return (
            f"a whole number >= {self.low}"
            if self.high == 2**31 - 1
            else f"a whole number from {self.low} to {self.high}"
        )

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Flag(Key):
    """True or false."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "bool"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "true or false"

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Choice(Key):
    """One of ``choices``."""

    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return " | ".join(self.choices)

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "one of " + ", ".join(self.choices)

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.choices


@dataclass(frozen=True)
class Text(Key):
    """A text whose content is checked where it is used; ``what`` names it in messages."""

    what: str = "a text"

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "str"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return self.what

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, str)


@dataclass(frozen=True)
class Path(Key):
    """A file or a folder."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "path"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a path, with names of at most 255 bytes"

    def _accepts(self, value: Any) -> bool:
        parts = str(value).split("/") if isinstance(value, str | os.PathLike) else ["x" * 256]
        return parts != [""] and "\0" not in str(value) and all(len(os.fsencode(part)) < 256 for part in parts)


@dataclass(frozen=True)
class Names(Key):
    """A name or a list of names; ``what`` stands for one name in messages."""

    what: str = "a name"

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "list of str"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return f"{self.what} or a list of them"

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, str) or _is_list_of_names(value)


@dataclass(frozen=True)
class Settings(Key):
    """Settings by name, such as ``{paper: {protocol: raid}}``."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "dict"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a mapping of names to mappings of settings, such as {paper: {protocol: raid}}"

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(name, str) and isinstance(settings, dict) and all(isinstance(key, str) for key in settings)
            for name, settings in value.items()
        )


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value)


def check_values(values: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    """Raises :class:`ConfigValueError` if a key does not accept its value; ignores values without a declared key."""
    for name, key in keys.items():
        if name in values:
            key.check(name, values[name])
