"""The four views of an unlearning: completeness, utility, efficiency and fairness, of the users who asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.config.types import FloatArray
from recbole_aia.evaluator import AttackReport
from recbole_aia.report.worst import without_views

_FEWEST = 5  # users of a group; smaller ones are not shown


def four_views(
    asked: Mapping[str, np.ndarray],
    report: AttackReport,
    served: Mapping[str, Mapping[str, FloatArray]],
    fairness: Mapping[str, Any],
    seconds: Mapping[str, float | None],
) -> dict[str, Any]:
    """How complete an unlearning is, what it costs in quality and time, and whether it treats users alike.

    Args:
        asked: by attribute, which users asked, ``[n]``.
        report: the attacks before and after.
        served: by state and metric, each user's value, ``[n]``; NaN for users who were not evaluated.
        fairness: what :func:`~recbole_aia.report.fairness.fairness` found.
        seconds: of the unlearning (``unlearning``) and, if known, of the training (``training``), which removing the
            users' influence by training anew would take.

    Returns:
        ``completeness``: by attribute and state, the strongest attacker among those who asked. ``utility``: by metric
        and state, the mean of those who asked, of the others and of all. ``efficiency``: the seconds. ``fairness``: by
        attribute, metric and state, the largest gap between classes. Where fewer than five users asked, or did not,
        nothing is said of either: what is said of all would tell the rest.

    Source:
        CURE4Rec (Chen et al., NeurIPS 2024), whose users are core, edge or random, as ``--users`` takes them.
    """
    who = np.logical_or.reduce([*asked.values()])
    counted = without_views(report, REFERENCES)
    return {
        "completeness": {name: _found(counted, name, mask) for name, mask in asked.items() if mask.sum() >= _FEWEST},
        "utility": _utility(served, {"asked": who, "did_not_ask": ~who, "all": np.ones_like(who)}),
        "efficiency": {name: value for name, value in seconds.items() if value is not None},
        "fairness": {
            name: {
                metric: {state: values[metric]["gap"]["mean"] for state, values in states.items()}
                for metric in next(iter(states.values()))
            }
            for name, states in fairness.items()
        },
    }


def _found(report: AttackReport, name: str, mask: np.ndarray) -> dict[str, Any]:
    states = dict.fromkeys(row["state"] for row in report.rows)
    own = {state: report.where(attribute=name, state=state).worst_among(mask).get(name) for state in states}
    return {state: case for state, case in own.items() if case is not None}


def _utility(
    served: Mapping[str, Mapping[str, FloatArray]], groups: Mapping[str, np.ndarray]
) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for state, metrics in served.items():
        for metric, values in metrics.items():
            seen = {name: values[mask & ~np.isnan(values)] for name, mask in groups.items()}
            shown = seen if min(map(len, seen.values())) >= _FEWEST else {"all": seen["all"]}
            found.setdefault(metric, {})[state] = {name: float(part.mean()) for name, part in shown.items()}
    return found


def four_lines(results: Mapping[str, Any]) -> list[str]:
    """The views that no other table shows: who asked, how well they are served, and the time."""
    views = results.get("four_views", {})
    said = []
    for name, states in views.get("completeness", {}).items():
        cases = [f"{state} {case['advantage']:.3f} (floor {case['floor']:.3f})" for state, case in states.items()]
        said.append(f"completeness, {name} of those who asked: {', '.join(cases)}")
    for metric, utility in views.get("utility", {}).items():
        groups = [name for name in ("asked", "did_not_ask") if all(name in means for means in utility.values())]
        parts = [
            f"{name.replace('_', ' ')} " + " to ".join(f"{means[name]:.4f}" for means in utility.values())
            for name in groups
        ]
        said += [f"utility, {metric.upper()}: {', '.join(parts)}"] if parts else []
    spent = views.get("efficiency", {})
    if "training" in spent:
        said.append(f"efficiency: {spent['unlearning']:.1f} s; training anew {spent['training']:.1f} s")
    return said
