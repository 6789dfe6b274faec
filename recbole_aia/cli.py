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
from recbole_aia.config.devices import memory_is_full
from recbole_aia.errors import AIAError, ConfigValueError, DeviceMemoryError, Interrupted, interruption_in
from recbole_aia.launch import is_started, place
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
            _refuse_nul(sys.argv[1:] if argv is None else argv)
            arguments, rest = parser.parse_known_args(argv)
            if arguments.command != "run" and place().count > 1:
                raise ConfigValueError(f"{arguments.command} works in one process. Start it without torchrun.")
            with disk_errors():
                code: int = arguments.handle(arguments, rest)
    except (Interrupted, Exception) as error:
        return _failed(error)
    return code


def _failed(error: BaseException) -> int:
    """Says what has ended a command, and returns its exit code."""
    interrupted = interruption_in(error)
    if interrupted is not None:
        if not (place().rank or is_started()):
            print(f"\nrecbole-aia: interrupted. {interrupted.way_on}", file=sys.stderr)
        return 128 + interrupted.signal
    if isinstance(error, AIAError):
        # Of several processes the first speaks for all, but of its own memory each speaks itself.
        if not place().rank or isinstance(error, DeviceMemoryError):
            print(f"recbole-aia: {error}", file=sys.stderr)
        return 2
    if memory_is_full(error):
        ways = "Lower train_batch_size, eval_batch_size or embedding_size, or add --device=cpu."
        print(f"recbole-aia: the GPU's memory is too small for that. {ways}", file=sys.stderr)
        return 2
    if _lacks_memory(error):
        print("recbole-aia: that is too much for this machine's memory. Make it smaller.", file=sys.stderr)
        return 2
    traceback.print_exception(error)
    print("recbole-aia: this is a mistake of recbole-aia. Please report it with the lines above.", file=sys.stderr)
    return 3


def _lacks_memory(error: BaseException) -> bool:
    """Whether an error is about memory; torch raises ``RuntimeError`` for its own."""
    text = str(error).lower()
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    return "out of memory" in text or "not enough memory" in text


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
