"""The worst case over attackers and views."""

from __future__ import annotations

from typing import Any

from recbole_aia.config.run_keys import CEILING
from recbole_aia.evaluator import AttackReport


def worst_cases(report: AttackReport) -> dict[str, dict[str, dict[str, Any]]]:
    """The strongest attacker of each attribute and state, and the view on which it is.

    The profile is kept out: it is what the system was given and no defense of a model changes it, so it bounds a
    leak and is none.

    Args:
        report: attacks on any states and views.

    Returns:
        ``{attribute: {state: {"view", "attacker", "advantage", "floor"}}}``, the content of ``worst_case`` in
        results.json; without states where only the profile was attacked. The floor is that of the largest advantage
        under chance among as many attackers and views.
    """
    names = dict.fromkeys(row["attribute"] for row in report.rows)
    worst: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    views = dict.fromkeys(row["view"] for row in report.rows if row["view"] != CEILING)
    judged = AttackReport.concat(report.where(view=view) for view in views)
    for state in dict.fromkeys(row["state"] for row in judged.rows):
        part = judged.where(state=state)
        for name, case in part.worst_case().items():
            worst[name][state] = case
    return worst
