"""Natural order: sorts texts that hold numbers by the values of the numbers."""

from __future__ import annotations

import re
from contextlib import suppress

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def natural_key(text: str) -> tuple[list[str | float], str]:
    """A key for :func:`sorted` by which ``5-9`` comes before ``10-19``.

    The key cuts a text into words and numbers in turn. Numbers compare by value, and words compare as Python compares
    texts. If the whole text is one number, its sign and exponent count too. Texts without digits sort as they do
    without this key.

    Args:
        text: any text.

    Returns:
        The key. Different texts have different keys, and any two keys can be compared.
    """
    parts: list[str | float] = list(_NUMBER.split(text))
    parts[1::2] = map(float, parts[1::2])
    if len(parts) > 1:
        with suppress(ValueError):
            parts = ["", float(text), ""]
    return parts, text
