"""What somebody who misspelt a word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6, n: int = 1) -> str:
    """The end of an error message about an unknown word.

    Args:
        word: as it was written.
        known: words that exist.
        cutoff: how alike words must be, in [0, 1]; see :func:`difflib.get_close_matches`.
        n: words to offer at most, >= 1.

    Returns:
        `` Did you mean mlp or mlp_raid?``, with a space in front, or nothing where no word is alike.
    """
    close = difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff)
    return f" Did you mean {' or '.join(close)}?" if close else ""
