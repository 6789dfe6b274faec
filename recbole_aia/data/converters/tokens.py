r"""Escapes ids for atomic files, so that any text survives RecBole's reader and can be turned back.

RecBole reads atomic files with pandas. There a leading quote swallows lines, tabs and line ends split fields, and an
artist called *NA* or *null* becomes a missing value. Escaping writes such a character as its code point, ``\x{22}``.
Nearly every id stays as it is.
"""

from __future__ import annotations

import re

# Texts that pandas takes for missing values, and RecBole's padding token.
_TAKEN = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null", "[PAD]",
}  # fmt: skip
_UNSAFE = re.compile(r'^"|^\s|\s$|[\t\n\r\x00\x1a\ufeff\ud800-\udfff]|\\(?=x\{)')
_WRITTEN = re.compile(r"\\x\{([0-9a-f]+)\}")


def written(token: str) -> str:
    """The escaped id: it has no tabs, line ends, outer spaces or leading quote, and is no text for a missing value."""
    if token in _TAKEN:
        return _code(token[:1]) + token[1:]
    return written_value(token)


def written_value(text: str) -> str:
    """The escaped value of a column that is read as text; *NA*, which may be Namibia, stays as it is there."""
    return _UNSAFE.sub(lambda match: _code(match[0]), text)


def original(token: str) -> str:
    """The id before :func:`written` escaped it."""
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), token)


def _code(character: str) -> str:
    return f"\\x{{{ord(character):x}}}" if character else ""
