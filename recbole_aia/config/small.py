"""Counts of users as results, tables and messages show them: the size of a very small class points at persons."""

from __future__ import annotations

#: The smallest class whose size is shown.
SHOWN_FROM = 5


def shown_count(count: int) -> int | str:
    """The number of users in a class, or ``"<5"`` for fewer than five.

    Example:
        >>> from recbole_aia.config.small import shown_count
        >>> shown_count(12), shown_count(4)
        (12, '<5')
    """
    return count if count >= SHOWN_FROM else f"<{SHOWN_FROM}"
