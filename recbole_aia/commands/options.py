"""The parser of every command, options of several, and the search for misspelt ones, which would count as settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from recbole_aia.config.hints import closest
from recbole_aia.errors import ConfigValueError, one_line
from recbole_aia.launch import place

_LIKE = 0.85  # least likeness (difflib's ratio) of an unknown key to an option that counts as a misspelling


class Parser(argparse.ArgumentParser):
    """A parser with errors of one line. Arguments that need slow imports are declared when the command is used."""

    #: Declares the arguments that need slow imports; called once, before the first arguments are read.
    fill: Callable[[], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``argparse.ArgumentParser.parse_known_args``."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill()
        return super().parse_known_args(args, namespace)

    def _parse_optional(self, arg_string: str) -> Any:
        """Reads ``--key=value`` as a key where the value has spaces too; argparse takes it for a file's name then."""
        found = super()._parse_optional(arg_string)
        if found is None and "=" in arg_string:
            return super()._parse_optional(arg_string.split(" ", maxsplit=1)[0])
        return found

    def error(self, message: str) -> NoReturn:
        """One line, like every other error."""
        if not place().rank:  # of several processes the first speaks for all
            print(f"recbole-aia: {one_line(message)}. See '{self.prog} --help'.", file=sys.stderr)
        raise SystemExit(2)


def with_flags(rest: Sequence[str]) -> list[str]:
    """The arguments with ``--no_labels_out`` as ``--no_labels_out=True``, the form of every other key."""
    return [f"{argument}=True" if argument == "--no_labels_out" else argument for argument in rest]


def add_figures(parser: Any) -> None:
    """Declares ``--figures`` and ``--formats``, which :func:`asked_images` reads."""
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write the page's figures as files there, too")
    parser.add_argument("--formats", metavar="LIST", help="of the figures: png,pdf,svg or some of them (default: all)")


def asked_images(arguments: argparse.Namespace) -> tuple[Path, Sequence[str]] | None:
    """The folder and the formats of ``--figures``; ``None`` if none are asked for.

    Raises:
        ConfigValueError: a format is not offered, or figures cannot be drawn.
    """
    if arguments.figures is None:
        if arguments.formats is not None:
            raise ConfigValueError("--formats is of the files of --figures. Give --figures DIR as well.")
        return None
    from recbole_aia.report.figures.images import FORMATS, check_formats

    formats = FORMATS if arguments.formats is None else tuple(arguments.formats.replace(" ", "").split(","))
    check_formats(formats)
    return arguments.figures, formats


def refuse_misspelt_options(given: Mapping[str, Any], options: Sequence[str]) -> None:
    """Refuses keys that are almost an option of the command.

    A misspelt ``--fail_above`` would let every leak pass. A misspelt ``--users`` would be a request of all users.

    Args:
        given: the parsed ``--key=value`` arguments.
        options: the options of the command.

    Raises:
        ConfigValueError: a key is like an option, and no key of ours or RecBole's.
    """
    from recbole_aia.config.registry import known_keys, presentation_keys

    for key in given.keys() - set(options) - known_keys().keys() - presentation_keys() - {"model", "dataset"}:
        meant = closest(key.replace("-", "_"), options, _LIKE)
        if meant:
            raise ConfigValueError(f"unknown option --{key}. Did you mean --{meant}?")
