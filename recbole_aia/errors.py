"""Errors a user can act on. Each message says what is wrong, where, and what to do, in one line."""


class AIAError(Exception):
    """Base of everything recbole-aia raises on purpose; the command line turns it into exit code 2."""


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
