"""How much leaks of users whose labels a defense has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.config.types import BoolArray
from recbole_aia.evaluator import AttackReport
from recbole_aia.report.worst import without_views, worst_text


def holdout_findings(report: AttackReport, unseen: BoolArray, share: float) -> dict[str, Any]:
    """Judges attackers trained on everybody among users whose labels the defense saw, and among the others.

    Args:
        report: attacks on both states.
        unseen: users whose labels were held out of the defense, ``[n_users]``.
        share: of the users that was to be held out, in (0, 1).

    Returns:
        The content of ``holdout`` in results.json: ``share``; ``n_users``, how many were held out; ``rows``, one for
        each group and row of the report; ``worst_case``, of each attribute, group and state, None where a group has
        too few users of all but one class. References do not count, see :func:`~recbole_aia.report.worst_cases`.
    """
    groups = {"seen": ~unseen, "unseen": unseen}
    judged = without_views(report, REFERENCES)
    worst: dict[str, dict[str, dict[str, Any]]] = {}
    for state in dict.fromkeys(row["state"] for row in judged.rows):
        for group, users in groups.items():
            for name, case in judged.where(state=state).worst_among(users).items():
                worst.setdefault(name, {}).setdefault(group, {})[state] = case
    return {
        "share": share,
        "n_users": int(unseen.sum()),
        "rows": [{"users": group, **row} for group, users in groups.items() for row in report.among(users)],
        "worst_case": worst,
    }


def holdout_verdict(results: Mapping[str, Any]) -> str:
    """Two lines an attribute: the worst case among users whose labels the defense saw, and among the others.

    Args:
        results: the content of a results.json.

    Returns:
        Empty where no labels were held out.
    """
    found = results.get("holdout")
    if found is None:
        return ""
    lines = []
    for name, groups in found["worst_case"].items():
        for group, states in groups.items():
            said = ", ".join(f"{state} {worst_text(case)}" for state, case in states.items())
            lines.append(
                f"labels the defense {'saw' if group == 'seen' else 'did not see'}: worst case for {name}: {said}"
            )
    return "\n".join([f"{found['n_users']} users' labels were held out of the defense", *lines])
