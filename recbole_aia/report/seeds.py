"""A number over seeds: its mean and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t


def interval(values: Sequence[float], places: int = 3) -> str:
    """The mean over seeds, and the half-width of its 95 % interval by Student's t distribution."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{places}f}"
    return f"{mean(values):.{places}f} ± {half_width(values):.{places}f}"


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of a mean; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    error: float = stdev(values) / len(values) ** 0.5
    return float(t.ppf(0.975, len(values) - 1)) * error
