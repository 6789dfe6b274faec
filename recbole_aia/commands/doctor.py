"""The command ``recbole-aia doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from recbole_aia.config.text import refuse_arguments


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "doctor",
        help="check this installation",
        description="Checks that RecBole and the packages that it needs work here. Says what to do if they do not.",
        allow_abbrev=False,
    )
    parser.set_defaults(handle=_doctor)


def _doctor(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.jobs.doctor import doctor

    refuse_arguments(arguments.command, rest)
    return doctor()
