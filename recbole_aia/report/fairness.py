"""How well the classes of an attribute are served, and the largest gap between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_aia.config.types import FloatArray, IntArray

_FEWEST = 5  # users of a class; smaller ones are not shown
_NORMAL = 1.959964  # half the width of the normal distribution's 95 % interval, in standard deviations


def fairness(
    states: Mapping[str, Mapping[str, FloatArray]],
    labels: Mapping[str, IntArray],
    classes: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """The recommendation metrics of each class before and after a defense.

    Args:
        states: by state and metric, each user's value, ``[n]``; NaN for users who were not evaluated.
        labels: by attribute, each user's class, ``[n]``; -1 if it is not known.
        classes: by attribute, the names of the classes.

    Returns:
        ``{attribute: {state: {metric: {"classes": {name: {"mean", "n_users"}}, "gap": {...}}}}}``. ``gap`` has the best
        and the worst served class (``best``, ``worst``), their difference (``mean``) and its 95 % interval (``ci95``),
        as if the two had been chosen beforehand. Classes of fewer than five users are left out; an attribute without
        two others is left out as a whole.
    """
    found: dict[str, Any] = {}
    for attribute, codes in labels.items():
        by_state = {
            state: {name: _by_class(values, codes, classes[attribute]) for name, values in metrics.items()}
            for state, metrics in states.items()
        }
        if by_state and all(len(each["classes"]) > 1 for metrics in by_state.values() for each in metrics.values()):
            found[attribute] = by_state
    return found if all(states.values()) else {}


def _by_class(values: FloatArray, codes: IntArray, names: Sequence[str]) -> dict[str, Any]:
    seen = ~np.isnan(values)
    parts = {name: values[seen & (codes == k)] for k, name in enumerate(names)}
    shown = {name: part for name, part in parts.items() if len(part) >= _FEWEST}
    means = {name: {"mean": float(part.mean()), "n_users": len(part)} for name, part in shown.items()}
    return {"classes": means, **({"gap": _gap(shown)} if len(shown) > 1 else {})}


def _gap(parts: Mapping[str, FloatArray]) -> dict[str, Any]:
    """The difference of the best and the worst served class; the interval is Welch's, for many users."""
    best = max(parts, key=lambda name: parts[name].mean())
    worst = min(parts, key=lambda name: parts[name].mean())
    gap = float(parts[best].mean() - parts[worst].mean())
    error = float(np.sqrt(sum(parts[name].var(ddof=1) / len(parts[name]) for name in (best, worst))))
    ends = [max(-1.0, gap - _NORMAL * error), min(1.0, gap + _NORMAL * error)]
    return {"best": best, "worst": worst, "mean": gap, "ci95": ends}


def fairness_lines(results: Mapping[str, Any]) -> list[str]:
    """A line for each attribute and metric: the largest gap before and after."""
    said = []
    for attribute, states in results.get("fairness", {}).items():
        for metric in next(iter(states.values())):
            parts = []
            for state, metrics in states.items():
                gap = metrics[metric]["gap"]
                low, high = gap["ci95"]
                parts.append(f"{state} {gap['mean']:.4f} [{low:.4f}, {high:.4f}] ({gap['best']} over {gap['worst']})")
            said.append(f"{metric.upper()}, largest gap by {attribute}: {', '.join(parts)}")
    return said
