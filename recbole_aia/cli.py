"""The command line: ``recbole-aia COMMAND``, and ``run_recbole_aia.py``, which is ``recbole-aia run``."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from recbole_aia.commands import COMMANDS
from recbole_aia.commands.options import Parser
from recbole_aia.commands.signals import interruptible
from recbole_aia.errors import AIAError, Interrupted, interruption_in
from recbole_aia.storage.files import disk_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments; ``None`` takes those of the process.

    Returns:
        The exit code: 0; 1 where an audit's gate is closed; 2 for anything that the user can mend; 3 for a mistake
        of ours, which must not pass for a verdict; 130 and 143 after SIGINT and SIGTERM.
    """
    # RecBole's own deprecations: nothing a user can mend, and they tear the progress bars.
    warnings.filterwarnings("ignore", module=r"recbole\.")
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    try:
        with interruptible():
            arguments, rest = parser.parse_known_args(argv)
            with disk_errors():
                code: int = arguments.handle(arguments, rest)
    except (Interrupted, Exception) as error:
        return _failed(error)
    return code


def _failed(error: BaseException) -> int:
    """Says what has ended a command, and returns its exit code."""
    interrupted = interruption_in(error)
    if interrupted is not None:
        print(f"\nrecbole-aia: interrupted. {interrupted.way_on}", file=sys.stderr)
        return 128 + interrupted.signal
    if isinstance(error, AIAError):
        print(f"recbole-aia: {error}", file=sys.stderr)
        return 2
    traceback.print_exception(error)
    print("recbole-aia: this is a mistake of recbole-aia. Please report it with the lines above.", file=sys.stderr)
    return 3


def _parser() -> Parser:
    parser = Parser(
        prog="recbole-aia",
        allow_abbrev=False,
        description="What do my user embeddings give away, and how do I stop it without hurting recommendations?",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _complete(parser: Parser) -> None:
    """Answers a shell that asks for completions (``pip install 'recbole-aia[completion]'``)."""
    import argcomplete

    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    raise SystemExit(main())
