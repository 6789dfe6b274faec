"""The worst case over attackers and views."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from recbole_aia.config.run_keys import LISTS, MASK, REFERENCES
from recbole_aia.evaluator import AttackReport


def worst_cases(report: AttackReport) -> dict[str, dict[str, dict[str, Any]]]:
    """The strongest attacker of each attribute and state, and the view that it attacks.

    Attacks on references do not count, because no defense of a model changes them: the profile is what the system was
    given, and bounds what a model can leak; ``top_k_popular`` is what the mask of seen items shows without a model.

    Args:
        report: attacks on any states and views.

    Returns:
        ``{attribute: {state: {"view", "attacker", "advantage", "floor"}}}``, the content of ``worst_case`` in
        results.json; empty for an attribute of which only references were attacked. The floor is that of the largest
        advantage among as many attackers and views, see :func:`~recbole_aia.evaluator.statistics.floor95`.
    """
    names = dict.fromkeys(row["attribute"] for row in report.rows)
    worst: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    judged = without_views(report, REFERENCES)
    for state in dict.fromkeys(row["state"] for row in judged.rows):
        part = judged.where(state=state)
        for name, case in part.worst_case().items():
            worst[name][state] = case
    return worst


def list_cases(report: AttackReport) -> dict[str, Any]:
    """The strongest attacker on recommendation lists, and on what their mask of seen items shows by itself.

    Args:
        report: attacks on any states and views.

    Returns:
        ``{"lists": {attribute: {state: case, "mask": case}}}`` with cases as in :func:`worst_cases`; empty where no
        lists were attacked. ``mask`` is missing where ``top_k_popular`` was not attacked.
    """
    lists = report.where(view=LISTS)
    found: dict[str, dict[str, Any]] = {}
    for state in dict.fromkeys(row["state"] for row in lists.rows):
        for name, case in lists.where(state=state).worst_case().items():
            found.setdefault(name, {})[state] = case
    for name, case in report.where(view=MASK).worst_case().items():
        if name in found:
            found[name]["mask"] = case
    return {"lists": found} if found else {}


def without_views(report: AttackReport, names: Collection[str]) -> AttackReport:
    """The rows of a report that are attacks on other views than these, view by view."""
    views = dict.fromkeys(row["view"] for row in report.rows if row["view"] not in names)
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
