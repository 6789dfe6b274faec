"""Texts in CSV files: a spreadsheet runs a cell that begins like a formula, so such cells get a quote in front."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

# Quotes in front count too, so that every text reads back as it was: '=1 is written as ''=1.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts no spreadsheet takes for formulas; numbers stay as they are."""
    return _changed(frame, lambda text: f"'{text}" if _FORMULA.match(text) else text)


def unescaped(frame: pd.DataFrame) -> pd.DataFrame:
    """The table that :func:`escaped` was given."""
    return _changed(frame, lambda text: text[1:] if _ESCAPED.match(text) else text)


def _changed(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    texts = [str(name) for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    return frame.assign(**{name: [change(str(text)) for text in frame[name]] for name in texts})
