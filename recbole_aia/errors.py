"""Errors a user can act on. Each message says what is wrong, where, and what to do, in one line."""

_LONGEST = 120  # characters of a value that a message shows


class AIAError(Exception):
    """Base of everything recbole-aia raises on purpose; the command line turns it into exit code 2.

    The message is kept as one line: the end of a line, say, is written as an escape.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(one_line(each) if isinstance(each, str) else each for each in args))


def one_line(text: str) -> str:
    """The text with every character that does not print, such as the end of a line, as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def shown(value: object) -> str:
    """A value as a message shows it: its ``repr``, without its middle if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a structure inside itself, an integer of thousands of digits
        text = f"a {type(value).__name__}"
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}...{text[-half:]}"


class ConfigValueError(AIAError, ValueError):
    """A key or a value that is not allowed: misconfigured, change the configuration."""


class AttributeDataError(AIAError, ValueError):
    """The data cannot carry the request: an attribute without usable classes, a missing file."""


class RawDataError(AIAError, ValueError):
    """A raw file of a dataset that is not there, is damaged, or does not hold what it should."""


class UnsupportedModelError(AIAError):
    """A model that has no user embedding view, or that cannot do what was asked of it."""


class CheckpointError(AIAError):
    """A checkpoint that cannot be read, or that belongs to another model or dataset."""


class StorageError(AIAError):
    """A file that cannot be read or written, because the disk is full, read-only or gone."""


class DeviceMemoryError(AIAError):
    """A GPU whose memory does not hold what was asked of it."""


class LostProcessError(AIAError):
    """Another process of the same run that is no longer there."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM has ended a command.

    Args:
        signal: the number of the signal.

    Attributes:
        way_on: what to do, a sentence. A job that keeps what it has done says more.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
        self.way_on = "Nothing half-written is left. Run the same command again."


def interruption_in(error: BaseException | None) -> Interrupted | None:
    """The interruption behind an error: a library that it caught in its work may have wrapped it in one of its own."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__cause__ or error.__context__
    return error
