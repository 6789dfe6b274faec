"""The command line: ``recbole-aia COMMAND``, and ``run_recbole_aia.py``, which is ``recbole-aia run``."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from recbole_aia.commands import COMMANDS
from recbole_aia.commands.options import Parser
from recbole_aia.errors import AIAError, ConfigValueError, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments; ``None`` takes those of the process.

    Returns:
        The exit code: 0; 1 where an audit's gate is closed; 2 for anything that the user can mend; 3 for a mistake
        of ours, which must not pass for a verdict.
    """
    # RecBole's own deprecations: nothing a user can mend, and they tear the progress bars.
    warnings.filterwarnings("ignore", module=r"recbole\.")
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    try:
        _refuse_nul(sys.argv[1:] if argv is None else argv)
        arguments, rest = parser.parse_known_args(argv)
        code: int = arguments.handle(arguments, rest)
    except AIAError as error:
        print(f"recbole-aia: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # the disk, the network or a right, which no check can know beforehand
        where = f" '{error.filename}'" if error.filename else ""
        print(
            one_line(
                f"recbole-aia: cannot use{where}: {error.strerror or error}. Check the path, the disk and its rights."
            ),
            file=sys.stderr,
        )
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            return _mistake()
        print("recbole-aia: that is too much for this machine's memory. Make it smaller.", file=sys.stderr)
        return 2
    except Exception:
        return _mistake()
    return code


def _mistake() -> int:
    """Prints the present error as a mistake of ours."""
    traceback.print_exc()
    print("recbole-aia: this is a mistake of recbole-aia. Please report it with the lines above.", file=sys.stderr)
    return 3


def _lacks_memory(error: Exception) -> bool:
    """Whether an error is about memory; torch raises ``RuntimeError`` for its own."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text


def _refuse_nul(arguments: Sequence[str]) -> None:
    """Raises :class:`ConfigValueError` for a character that no file name and no setting can hold."""
    for argument in arguments:
        if "\0" in argument:
            raise ConfigValueError(f"the argument '{argument}' holds a NUL character. Leave it out.")


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
