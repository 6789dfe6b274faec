"""Kinds of the keys that name attributes and say how a column becomes classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_aia.config.keys import Key


@dataclass(frozen=True)
class Attributes(Key):
    """Names of attributes, or a mapping of names to specifications."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "list or dict"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a list of different names such as [gender,age], or a mapping of names to specifications"

    def _accepts(self, value: Any) -> bool:
        names = list(value) if isinstance(value, list | tuple | dict) else [value]
        texts = bool(names) and all(isinstance(name, str) and bool(name.strip()) for name in names)
        return texts and len(set(names)) == len(names)


@dataclass(frozen=True)
class Specifications(Key):
    """A mapping of attributes to their specifications."""

    @property
    def kind(self) -> str:
        """See :attr:`Key.kind`."""
        return "dict"

    @property
    def expected(self) -> str:
        """See :attr:`Key.expected`."""
        return "a mapping of names to specifications"

    def _accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(name, str) and name.strip() for name in value)
