"""The tables that a run prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from texttable import Texttable

_STATES = ("undefended", "defended")


def attack_table(results: Mapping[str, Any]) -> str:
    """Attribute x attacker: the floor, and what the attacker gains before and after the defense.

    Args:
        results: the content of a results.json.

    Returns:
        A text table. The columns of intervals show the advantage, ``2 mean_k |AUC_k - 1/2|``.
    """
    rows = _paired(results["attacks"])
    states = [state for state in _STATES if any(state in pair for pair in rows.values())]
    table = _texttable(3 + 2 * len(states), left=2)
    table.header(
        ["attribute", "attacker", "floor", *(f"{s}\nadvantage" for s in states), *(f"{s}\nAUC / BAcc" for s in states)]
    )
    for (attribute, attacker), pair in rows.items():
        floor = max(row["floor"]["permuted_advantage95"] for row in pair.values())
        gains = [_interval(pair[s]["metrics"]["advantage"]) for s in states]
        scores = [
            f"{pair[s]['metrics']['auc']['mean']:.3f} / {pair[s]['metrics']['balanced_accuracy']['mean']:.3f}"
            for s in states
        ]
        table.add_row([attribute, attacker, f"{floor:.3f}", *gains, *scores])
    return str(table.draw())


def utility_table(results: Mapping[str, Any]) -> str:
    """The recommendation metrics of the test items, before and after."""
    utility = results["utility"]
    states = [state for state in _STATES if state in utility]
    table = _texttable(1 + len(states) + (len(states) == 2), left=1)
    table.header(["metric", *states, *(["change"] if len(states) == 2 else [])])
    for metric, before in utility["undefended"].items():
        values = [utility[state][metric] for state in states]
        change = [_change(before, values[-1])] if len(states) == 2 else []
        table.add_row([metric, *(f"{value:.4f}" for value in values), *change])
    return str(table.draw())


def verdict(results: Mapping[str, Any]) -> str:
    """One line an attribute: the strongest attacker before and after, what it gains, and what chance would."""
    lines = []
    for attribute, states in results["worst_case"].items():
        parts = [f"{state} {_worst(worst)}" for state, worst in states.items()]
        fewer = _significantly_less(results.get("comparisons", []), attribute)
        lines.append(f"worst case for {attribute}: {', '.join(parts)}{fewer}")
    return "\n".join(lines)


def _worst(worst: Mapping[str, Any]) -> str:
    floor = f", floor {worst['floor']:.3f}" if "floor" in worst else ""
    return f"{worst['advantage']:.3f} ({worst['attacker']}{floor})"


def _significantly_less(comparisons: list[dict[str, Any]], attribute: str) -> str:
    family = [line for line in comparisons if line["attribute"] == attribute]
    less = sum(line["difference"]["mean"] < 0 and line["p_holm"] < 0.05 for line in family)
    return f"; {less} of {len(family)} attackers gain less (p < 0.05, Holm)" if family else ""


def _paired(attacks: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in attacks:
        rows.setdefault((row["attribute"], row["attacker"]), {})[row["state"]] = row
    return rows


def _texttable(columns: int, left: int) -> Texttable:
    table = Texttable(max_width=0)
    table.set_deco(Texttable.HEADER | Texttable.BORDER)
    table.set_cols_dtype(["t"] * columns)
    table.set_cols_align(["l"] * left + ["c"] * (columns - left))
    return table


def _interval(metric: Mapping[str, Any]) -> str:
    low, high = metric["ci95"]
    return f"{metric['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before else "n/a"
