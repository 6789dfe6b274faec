"""What informed attackers read, in words: those who have earlier releases, and those who know the users' activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PARTS = {
    "old": "old alone",
    "difference": "difference",
    "unexplained": "unexplained",
    "old_and_new": "side by side",
    "component": "without labels",
}

_BLIND = 0.5  # a floor above which even a large leak stays within it


def informed_verdict(results: Mapping[str, Any]) -> str:
    """What earlier releases add to the old vectors, and what activity adds to itself, a few lines for each attribute.

    Args:
        results: the content of a results.json.

    Returns:
        Empty where no informed attacker was asked.
    """
    found = results.get("informed")
    if found is None:
        return ""
    lines = []
    for name, cases in found["attributes"].items():
        if "old" in cases:
            lines += [f"with the old vectors, {name}: {_with_old(cases)}", f"  {_advantages(cases)}"]
        if "activity" in cases:
            lines.append(f"with the users' activity, {name}: {_with_activity(cases['activity'])}")
    return "\n".join([*lines, *(f"note: {note}" for note in found["notes"])])


def _with_old(cases: Mapping[str, Any]) -> str:
    old, gain = cases["old"], f"{cases['beyond_old']:+.3f}, floor {cases['floor']:.3f}"
    best = max((cases[key] for key in _PARTS if key in cases and key != "old"), key=lambda case: case["advantage"])
    if cases["verdict"] == "above":
        aucs = f"AUC {best['auc']:.3f} where the old vectors alone give {old['auc']:.3f}"
        return f"the movement gives it away, {aucs} ({gain})"
    if cases["floor"] > _BLIND:
        return f"too few users to tell, {best['advantage']:.3f} where they alone give {old['advantage']:.3f} ({gain})"
    return f"nothing beyond them, {best['advantage']:.3f} where they alone give {old['advantage']:.3f} ({gain})"


def _advantages(cases: Mapping[str, Any]) -> str:
    """The advantage of each way to attack, with the strongest attacker."""
    return ", ".join(
        f"{text} {cases[key]['advantage']:.3f} ({cases[key]['attacker']})"
        for key, text in _PARTS.items()
        if key in cases
    )


def _with_activity(case: Mapping[str, Any]) -> str:
    own = f"{case['advantage']:.3f} ({case['attacker']}), activity alone {case['alone']['advantage']:.3f}"
    return f"{own}; beyond activity {case['beyond']:.3f}, {case['verdict']} the floor {case['beyond_floor']:.3f}"
