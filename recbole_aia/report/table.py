"""The tables that a run prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from texttable import Texttable

from recbole_aia.config.run_keys import CEILING
from recbole_aia.evaluator.report import interval_text
from recbole_aia.report.worst import worst_text

_STATES = ("undefended", "defended")
_MASK = "mask"
_KEYS = ("attribute", "view", "leak_ratio", "attacker")
_HEADS = {"leak_ratio": "users\nknown"}


def attack_table(results: Mapping[str, Any]) -> str:
    """A row for each attribute, view and attacker: the floor, and the advantage before and after the defense.

    There is a column of views if any is not ``served``, and of leak ratios if there are several.

    Args:
        results: the content of a results.json.

    Returns:
        A text table. The columns of intervals show the advantage, ``2 mean_k |AUC_k - 1/2|``.
    """
    rows, keys = _paired(results["attacks"], _KEYS)
    states = [state for state in _STATES if any(state in pair for pair in rows.values())]
    table = _texttable(len(keys) + 1 + 2 * len(states), left=len(keys))
    table.header(
        [
            *(_HEADS.get(key, key) for key in keys),
            "floor",
            *(f"{s}\nadvantage" for s in states),
            *(f"{s}\nAUC / BAcc" for s in states),
        ]
    )
    for pair in rows.values():
        names = _names(next(iter(pair.values())), keys)
        floor = max(row["floor"]["permuted_advantage95"] for row in pair.values())
        cells = [cell(pair[s]) if s in pair else "as undefended" for cell in (_gain, _scores) for s in states]
        table.add_row([*names, f"{floor:.3f}", *cells])
    return str(table.draw())


def group_table(results: Mapping[str, Any]) -> str:
    """The advantage of attackers trained on everybody, among users who asked and among users who did not.

    Args:
        results: the content of a results.json.

    Returns:
        A text table; empty where there are no groups.
    """
    rows, keys = _paired(results.get("groups", []), ("attribute", "users", *_KEYS[1:]))
    table = _texttable(len(keys) + 2 + len(_STATES), left=len(keys))
    table.header(
        [*(_HEADS.get(key, key) for key in keys), "number", "floor", *(f"{state}\nadvantage" for state in _STATES)]
    )
    for pair in rows.values():
        floors = [row["floor"] for row in pair.values() if row["floor"] is not None]
        gains = [pair[state]["advantage"] for state in _STATES]
        cells = [f"{max(floors):.3f}" if floors else "", *("too few" if g is None else f"{g:.3f}" for g in gains)]
        table.add_row([*_names(pair["defended"], keys), pair["defended"]["n_users"], *cells])
    return str(table.draw()) if rows else ""


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
    """One line for each attribute: the strongest attacker before and after, its advantage and its floor.

    Where lists were attacked, a line with the strongest attacks on them follows, and what their mask of seen items
    gives by itself. Where profiles were attacked, so does the strongest attack on them: the ceiling.
    """
    lines = []
    for attribute, states in results["worst_case"].items():
        parts = [f"{state} {worst_text(worst, with_view=_has_views(results))}" for state, worst in states.items()]
        profiles = [row for row in results["attacks"] if (row["attribute"], row["view"]) == (attribute, CEILING)]
        fewer = _significantly_less(results.get("comparisons", []), attribute)
        lines += [f"worst case for {attribute}: {', '.join(parts)}{fewer}"] if parts else []
        lines += _lists(attribute, results.get("lists", {}).get(attribute, {}))
        if profiles:
            row = max(profiles, key=lambda row: row["metrics"]["advantage"]["mean"])
            gain = row["metrics"]["advantage"]["mean"]
            lines.append(f"ceiling for {attribute}: {gain:.3f} ({row['attacker']} on {CEILING})")
    return "\n".join(lines)


def _lists(attribute: str, cases: Mapping[str, Any]) -> list[str]:
    said = [f"{state} {worst_text(cases[state], with_view=False)}" for state in _STATES if state in cases]
    mask = f"; the mask of seen items alone gives {worst_text(cases[_MASK], with_view=False)}" if _MASK in cases else ""
    return [f"lists for {attribute}: {', '.join(said)}{mask}"] if said else []


def _significantly_less(comparisons: list[dict[str, Any]], attribute: str) -> str:
    family = [line for line in comparisons if line["attribute"] == attribute]
    less = sum(line["difference"]["mean"] < 0 and line["p_holm"] < 0.05 for line in family)
    return f"; {less} of {len(family)} attacks gain less (p < 0.05, Holm)" if family else ""


def _has_views(results: Mapping[str, Any]) -> bool:
    return any(row["view"] != "served" for row in results["attacks"])


def _paired(rows: list[dict[str, Any]], keys: Sequence[str]) -> tuple[dict[tuple[Any, ...], dict[str, Any]], list[str]]:
    """Rows by the values of ``keys`` and then by state; and the keys that need a column.

    Rows are grouped by the first key, then by the next; attackers keep their order.
    """
    orders = [list(dict.fromkeys(row[key] for row in rows)) for key in keys[:-1]]
    pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: [o.index(row[key]) for o, key in zip(orders, keys, strict=False)]):
        pairs.setdefault(tuple(row[key] for key in keys), {})[row["state"]] = row
    shown = {"view": any(row["view"] != "served" for row in rows)}
    shown["leak_ratio"] = len({row["leak_ratio"] for row in rows}) > 1
    return pairs, [key for key in keys if shown.get(key, True)]


def _names(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"{row[key]:.0%}" if key == "leak_ratio" else row[key] for key in keys]


def _texttable(columns: int, left: int) -> Texttable:
    table = Texttable(max_width=0)
    table.set_deco(Texttable.HEADER | Texttable.BORDER)
    table.set_cols_dtype(["t"] * columns)
    table.set_cols_align(["l"] * left + ["c"] * (columns - left))
    return table


def _gain(row: Mapping[str, Any]) -> str:
    return interval_text(row["metrics"]["advantage"])


def _scores(row: Mapping[str, Any]) -> str:
    metrics = row["metrics"]
    return f"{metrics['auc']['mean']:.3f} / {metrics['balanced_accuracy']['mean']:.3f}"


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before else "n/a"
