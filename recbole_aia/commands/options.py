"""The parser of every command, and options that are misspelt, which would otherwise be taken for settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from recbole_aia.config.hints import closest
from recbole_aia.errors import ConfigValueError

_LIKE = 0.85  # likeness from which on an unknown key is an option misspelt


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that declares expensive arguments only when its command is used."""

    #: Declares what needs an import; called once, before the first arguments are read.
    fill: Callable[[], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``argparse.ArgumentParser.parse_known_args``."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """One line, like every other error."""
        print(f"recbole-aia: {message}. See '{self.prog} --help'.", file=sys.stderr)
        raise SystemExit(2)


def refuse_misspelt_options(given: Mapping[str, Any], options: Sequence[str]) -> None:
    """A gate that is misspelt would stand open, and a request for some users be one for all.

    Args:
        given: ``--key=value`` arguments, read.
        options: the options of the command.

    Raises:
        ConfigValueError: a key that is almost an option, and none of ours.
    """
    from recbole_aia.config.registry import known_keys, presentation_keys

    for key in given.keys() - set(options) - known_keys().keys() - presentation_keys() - {"model", "dataset"}:
        meant = closest(key.replace("-", "_"), options, _LIKE)
        if meant:
            raise ConfigValueError(f"unknown option --{key}. Did you mean --{meant}?")
