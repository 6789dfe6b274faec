"""The order in which people expect texts that hold numbers."""

from __future__ import annotations

import re
from contextlib import suppress

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def natural_key(text: str) -> tuple[list[str | float], str]:
    """A key for :func:`sorted` by which ``5-9`` comes before ``10-19``.

    A text is cut into words and numbers in turn; numbers compare by their value and words as Python compares texts. A
    text that is one number as a whole compares by its value, sign and exponent included. Texts without digits keep the
    order that they have without this key.

    Args:
        text: any text.

    Returns:
        Keys of different texts are different, and any two can be compared.
    """
    parts: list[str | float] = list(_NUMBER.split(text))
    parts[1::2] = map(float, parts[1::2])
    if len(parts) > 1:
        with suppress(ValueError):
            parts = ["", float(text), ""]
    return parts, text
