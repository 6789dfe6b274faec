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
