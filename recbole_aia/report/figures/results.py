"""The figures of a results.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_aia.config.small import SHOWN_FROM
from recbole_aia.report.figures.base import Figure, Panel, Series
from recbole_aia.report.figures.training import training

_STATES = ("undefended", "defended")
_METRIC = "ndcg@10"
_ADVANTAGE = "advantage (0 guessing, 1 certain)"


def figures(results: Mapping[str, Any]) -> list[Figure]:
    """The figures that the results have numbers for."""
    return [
        *_plane(results),
        *_attackers(results),
        *_densities(results),
        *_known(results),
        *_activity(results),
        *training(results),
    ]


def _plane(results: Mapping[str, Any]) -> list[Figure]:
    """Advantage against NDCG@10, a line from before to after for each attribute."""
    utility = results.get("utility", {})
    if any(_METRIC not in utility.get(state, {}) for state in _STATES):
        return []
    series = []
    for color, (name, states) in enumerate(results["worst_case"].items()):
        both = [state for state in _STATES if state in states]
        gains, kept = [states[state]["advantage"] for state in both], [utility[state][_METRIC] for state in both]
        series.append(Series(name, gains, kept, "line", color, dashed=True))
        for state, gain, y in zip(both, gains, kept, strict=True):
            ends = [_interval(results, name, state, states[state])]
            series.append(Series(name, [gain], [y], "points", color, state == "undefended", x_ends=ends))
    panel = Panel(f"strongest attacker's {_ADVANTAGE}", "NDCG@10 (0 to 1)", series, x_span=(0, 1))
    text = (
        "Each line goes from the undefended model (open circle) to the defended one (full circle), with 95 % "
        "intervals of the advantage. Left is private, up is useful."
    )
    return [Figure("plane", "Privacy and usefulness", text, [panel])]


def _interval(results: Mapping[str, Any], name: str, state: str, case: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of a worst case, which is that of its attack's row."""
    gain = float(case["advantage"])
    wanted = (state, name, case["attacker"], case["view"], gain)
    for row in results["attacks"]:
        found = row["metrics"]["advantage"]
        if (row["state"], row["attribute"], row["attacker"], row["view"], found["mean"]) == wanted:
            return min(gain, found["ci95"][0]), max(gain, found["ci95"][1])
    return gain, gain


def _attackers(results: Mapping[str, Any]) -> list[Figure]:
    """A bar for each attacker that knows most users, before and after, by attribute."""
    found = []
    for place, name in enumerate(dict.fromkeys(row["attribute"] for row in results["attacks"]), start=1):
        rows = [row for row in results["attacks"] if row["attribute"] == name]
        rows = [row for row in rows if row["leak_ratio"] == max(each["leak_ratio"] for each in rows)]
        series = []
        for color, state in enumerate(_STATES):
            own = [row for row in rows if row["state"] == state]
            gains = [row["metrics"]["advantage"] for row in own]
            if own:
                bars = [f"{row['attacker']} on {row['view']}" for row in own]
                lengths, ends = [gain["mean"] for gain in gains], [tuple(gain["ci95"]) for gain in gains]
                series.append(Series(state, lengths, bars, "bars", 1 - color, x_ends=ends))
        floor = max(row["floor"]["permuted_advantage95"] for row in rows)
        panel = Panel(_ADVANTAGE, "", series, x_span=(0, 1), marks=[(floor, "luck")])
        text = (
            f"What each attacker gains over guessing {name}, with 95 % intervals. Left of the dotted line is what luck "
            "reaches in 95 of 100 cases."
        )
        bars_of = {f"{row['attacker']} on {row['view']}" for row in rows}
        found.append(Figure(f"attackers-{place}", f"Who reads {name}", text, [panel], 180 + 50 * len(bars_of)))
    return found


def _densities(results: Mapping[str, Any]) -> list[Figure]:
    """The densities of the classes along the most telling direction, before and after, by attribute."""
    found, entries = [], results.get("densities", [])
    for place, name in enumerate(dict.fromkeys(entry["attribute"] for entry in entries), start=1):
        own = [entry for entry in entries if entry["attribute"] == name]
        widths = [each["bandwidth"] for entry in own for each in entry["classes"].values()]
        panels = [_density_panel(entry) for entry in own]
        said = " and ".join(f"{entry['auc']:.2f} {entry['state']} ({entry['told']})" for entry in own)
        text = (
            f"The users of each class of {name} along the direction that tells one class from the others best, found "
            f"anew in each state and on other users than those shown. AUC along it: {said}; 0.5 is guessing. Curves "
            f"are smoothed (bandwidth {min(widths):.2g} to {max(widths):.2g}), and show no single user."
        )
        found.append(Figure(f"densities-{place}", f"How classes of {name} lie", text, panels, 330 * len(own)))
    return found


def _density_panel(entry: Mapping[str, Any]) -> Panel:
    series = [
        Series(f"{label} ({each['n_users']:,} users)", entry["grid"], each["density"], "line", place, place % 2 == 1)
        for place, (label, each) in enumerate(entry["classes"].items())
    ]
    title = f"held-out score for {entry['told']} (standard deviations)"
    return Panel(title, "density", series, title=entry["state"])


def _known(results: Mapping[str, Any]) -> list[Figure]:
    """The advantage by the share of users whose attribute the attacker knows."""
    rows = [row for row in results["attacks"] if row["view"] in ("served", "given")]
    if len({row["leak_ratio"] for row in rows}) < 2:
        return []
    series = []
    for color, name in enumerate(dict.fromkeys(row["attribute"] for row in rows)):
        for state in _STATES:
            best: dict[float, float] = {}
            for row in rows:
                if (row["attribute"], row["state"]) == (name, state):
                    ratio = row["leak_ratio"]
                    best[ratio] = max(best.get(ratio, 0.0), row["metrics"]["advantage"]["mean"])
            if best:
                points = sorted(best.items())
                xs, ys = [100 * ratio for ratio, _ in points], [gain for _, gain in points]
                series.append(Series(f"{name}, {state}", xs, ys, "both", color, state == "undefended"))
    text = "The strongest attacker on the served vectors, by how many users' attributes it knows."
    panel = Panel("users whose attribute is known (%)", _ADVANTAGE, series, x_span=(0, 100), y_span=(0, 1))
    return [Figure("known", "What knowing more users gives", text, [panel])]


def _activity(results: Mapping[str, Any]) -> list[Figure]:
    """The advantage among users of different activity."""
    series = []
    names = list(dict.fromkeys(entry["attribute"] for entry in results.get("who_leaks", [])))
    for entry in results.get("who_leaks", []):
        groups = [g for g in entry.get("groups", []) if g["n_users"] >= SHOWN_FROM and g["advantage"] is not None]
        if groups:
            name, before = f"{entry['attribute']}, {entry['state']}", entry["state"] == "undefended"
            xs = ["{} to {}".format(*group["interactions"]) for group in groups]
            ys = [group["advantage"] for group in groups]
            series.append(Series(name, xs, ys, "both", names.index(entry["attribute"]), before))
    text = "The advantage of the strongest attacker among users with few, some and many interactions."
    panel = Panel("interactions of a user", _ADVANTAGE, series, y_span=(0, 1))
    return [Figure("activity", "Who leaks", text, [panel])] if series else []
