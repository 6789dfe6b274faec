r"""Ids as they stand in atomic files: any text survives RecBole's reader, and the original comes back.

RecBole reads with pandas: a leading quote swallows lines, tabs and line ends split fields, and an artist called *NA* or
*null* is a missing value. Such a character is written as its code point, ``\x{22}``; nearly every id stays as it is.
"""

from __future__ import annotations

import re

# What pandas takes for a missing value, and RecBole's padding token.
_TAKEN = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null", "[PAD]",
}  # fmt: skip
_UNSAFE = re.compile(r'^"|^\s|\s$|[\t\n\r\x00\x1a\ufeff\ud800-\udfff]|\\(?=x\{)')
_WRITTEN = re.compile(r"\\x\{([0-9a-f]+)\}")


def written(token: str) -> str:
    """An id as it is written: without tabs, line ends, outer spaces, a leading quote, or a meaning of its own."""
    if token in _TAKEN:
        return _code(token[:1]) + token[1:]
    return written_value(token)


def written_value(text: str) -> str:
    """A value of a column that pandas reads as text, in which *NA* is Namibia."""
    return _UNSAFE.sub(lambda match: _code(match[0]), text)


def original(token: str) -> str:
    """The id that :func:`written` wrote."""
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), token)


def _code(character: str) -> str:
    return f"\\x{{{ord(character):x}}}" if character else ""
