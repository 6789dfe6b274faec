"""Suggestions for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], cutoff: float = 0.6, n: int = 1) -> str:
    """The known words most like ``word``, joined by "or"; empty if no word is like it.

    Args:
        word: the word that was written.
        known: the words that could have been meant.
        cutoff: least likeness, 0 to 1 (``difflib.SequenceMatcher.ratio``).
        n: most words in the result.
    """
    return " or ".join(difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff))


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6, n: int = 1) -> str:
    """The end of an error message about an unknown word; see :func:`closest`.

    Returns:
        `` Did you mean mlp or mlp_raid?``, with a blank in front; empty if no word is like it.
    """
    meant = closest(word, known, cutoff, n)
    return f" Did you mean {meant}?" if meant else ""
