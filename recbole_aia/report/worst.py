"""The worst case over attackers and views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_aia.config.run_keys import CEILING
from recbole_aia.evaluator import AttackReport


def worst_cases(report: AttackReport) -> dict[str, dict[str, dict[str, Any]]]:
    """The strongest attacker of each attribute and state, and the view that it attacks.

    Attacks on the profile do not count. The profile is what the system was given, and no defense of a model changes
    it: it bounds what a model can leak.

    Args:
        report: attacks on any states and views.

    Returns:
        ``{attribute: {state: {"view", "attacker", "advantage", "floor"}}}``, the content of ``worst_case`` in
        results.json; empty for an attribute of which only the profile was attacked. The floor is that of the largest
        advantage among as many attackers and views, see :func:`~recbole_aia.evaluator.statistics.floor95`.
    """
    names = dict.fromkeys(row["attribute"] for row in report.rows)
    worst: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    judged = without_ceiling(report)
    for state in dict.fromkeys(row["state"] for row in judged.rows):
        part = judged.where(state=state)
        for name, case in part.worst_case().items():
            worst[name][state] = case
    return worst


def without_ceiling(report: AttackReport) -> AttackReport:
    """The rows of a report that are no attacks on the profile, view by view."""
    views = dict.fromkeys(row["view"] for row in report.rows if row["view"] != CEILING)
    return AttackReport.concat(report.where(view=view) for view in views)


def worst_text(case: Mapping[str, Any] | None, *, with_view: bool = True) -> str:
    """A worst case in words, such as ``0.512 (mlp on served, floor 0.114)``.

    Args:
        case: ``attacker``, ``view``, ``advantage`` and, where it is known, ``floor``; None for too few users.
        with_view: whether the view is named.
    """
    if case is None:
        return "too few users"
    view = f" on {case['view']}" if with_view else ""
    floor = f", floor {case['floor']:.3f}" if "floor" in case else ""
    return f"{case['advantage']:.3f} ({case['attacker']}{view}{floor})"
