"""Options that are misspelt, which would otherwise be taken for settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_aia.errors import ConfigValueError
from recbole_aia.keys import KEYS


def refuse_misspelt_options(given: Mapping[str, Any], options: Sequence[str]) -> None:
    """A gate that is misspelt would stand open, and a request for some users be one for all.

    Args:
        given: ``--key=value`` arguments, read.
        options: the options of the command.

    Raises:
        ConfigValueError: a key that is almost an option, and none of ours.
    """
    from recbole_aia.config import PRESENTATION_KEYS

    for key in given.keys() - set(options) - KEYS.keys() - PRESENTATION_KEYS - {"model", "dataset"}:
        close = difflib.get_close_matches(key.replace("-", "_"), options, n=1, cutoff=0.85)
        if close:
            raise ConfigValueError(f"unknown option --{key}. Did you mean --{close[0]}?")
