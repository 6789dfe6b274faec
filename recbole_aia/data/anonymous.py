"""Users in messages: nobody is named whom the caller did not name, because messages end up in logs and tickets."""

from __future__ import annotations

import re

_SHOWN = 20  # characters of a form


def form_of(token: str) -> str:
    """The form of a user's id, which shows how a file writes ids and names nobody.

    Example:
        >>> form_of("user-17"), form_of("1.0")
        ('aaaa-99', '9.9')
    """
    form = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", re.sub(r"[\x00-\x1f\x7f]", "?", token)))
    return form if len(form) <= _SHOWN else f"{form[:_SHOWN]}..."
