"""The figures of a page as Plotly's JSON, each with a text for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recbole_aia.report.page.sentences import last_state

_FEWEST = 5  # users; smaller groups are not shown
_COLORS = {"undefended": "#b4532a", "defended": "#2a6fb4"}


class Figure(NamedTuple):
    """A figure.

    Attributes:
        name: of the element.
        title: above it.
        text: what it shows, in a sentence.
        data: Plotly's traces.
        layout: Plotly's layout.
    """

    name: str
    title: str
    text: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def figures(results: Mapping[str, Any]) -> list[Figure]:
    """The figures that the results have numbers for."""
    found = [_plane(results), *_attackers(results), *_activity(results), *_known(results)]
    return [figure for figure in found if figure is not None]


def _plane(results: Mapping[str, Any]) -> Figure | None:
    """Advantage against NDCG@10, a line from before to after for each attribute."""
    utility = results.get("utility", {})
    metric = "ndcg@10"
    if any(metric not in utility.get(state, {}) for state in ("undefended", "defended")):
        return None
    traces = []
    for name, states in results["worst_case"].items():
        both = [state for state in ("undefended", "defended") if state in states]
        points = [states[state]["advantage"] for state in both]
        spread = [_interval(results, name, state, states[state]) for state in both]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": name, "x": points,
            "y": [utility[state][metric] for state in both], "text": both,
            "error_x": {
                "type": "data", "symmetric": False,
                "array": [high - point for point, (_, high) in zip(points, spread, strict=True)],
                "arrayminus": [point - low for point, (low, _) in zip(points, spread, strict=True)],
            },
            "marker": {"symbol": ["circle-open", "circle"][: len(both)], "size": 10},
        })  # fmt: skip
    axes = {"xaxis": axis("advantage of the strongest attacker (0: guessing)", [0, 1]), "yaxis": axis("NDCG@10")}
    text = "Each line goes from the undefended model (open circle) to the defended one. Left is private, up is useful."
    return Figure("plane", "Privacy and usefulness", text, traces, axes)


def _interval(results: Mapping[str, Any], name: str, state: str, case: Mapping[str, Any]) -> tuple[float, float]:
    for row in results["attacks"]:
        if (row["state"], row["attribute"], row["attacker"], row["view"]) == (
            state, name, case["attacker"], case["view"],
        ):  # fmt: skip
            low, high = row["metrics"]["advantage"]["ci95"]
            return float(min(low, case["advantage"])), float(max(high, case["advantage"]))
    return case["advantage"], case["advantage"]


def _attackers(results: Mapping[str, Any]) -> list[Figure]:
    """A bar for each attacker, before and after, by attribute."""
    found = []
    for place, name in enumerate(dict.fromkeys(row["attribute"] for row in results["attacks"])):
        rows = [row for row in results["attacks"] if row["attribute"] == name]
        traces = []
        for state in ("undefended", "defended"):
            own = [row for row in rows if row["state"] == state]
            gains = [row["metrics"]["advantage"] for row in own]
            if own:
                traces.append({
                    "type": "bar", "orientation": "h", "name": state,
                    "y": [f"{row['attacker']} on {row['view']}" for row in own], "x": [gain["mean"] for gain in gains],
                    "error_x": {
                        "type": "data", "symmetric": False, "array": [g["ci95"][1] - g["mean"] for g in gains],
                        "arrayminus": [g["mean"] - g["ci95"][0] for g in gains],
                    },
                    "marker": {"color": _COLORS[state]},
                })  # fmt: skip
        floor = max(row["floor"]["permuted_advantage95"] for row in rows)
        line = {"type": "line", "x0": floor, "x1": floor, "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot"}}
        layout = {
            "barmode": "group", "shapes": [line], "xaxis": axis("advantage (dotted: what luck reaches)", [0, 1]),
            "yaxis": {"automargin": True}, "height": 180 + 26 * len(rows),
        }  # fmt: skip
        text = f"What each attacker gains over guessing {name}, with 95 % intervals. Left of the dotted line is luck."
        found.append(Figure(f"attackers{place}", f"Who reads {name}", text, traces, layout))
    return found


def _activity(results: Mapping[str, Any]) -> list[Figure]:
    """The advantage among users of different activity."""
    traces = []
    for entry in results.get("who_leaks", []):
        groups = [g for g in entry.get("groups", []) if g["n_users"] >= _FEWEST and g["advantage"] is not None]
        if groups:
            traces.append({
                "type": "scatter", "mode": "lines+markers", "name": f"{entry['attribute']}, {entry['state']}",
                "x": ["{} to {}".format(*group["interactions"]) for group in groups],
                "y": [group["advantage"] for group in groups],
                "line": {"dash": "dot" if entry["state"] == "undefended" else "solid"},
            })  # fmt: skip
    text = "The advantage of the strongest attacker among users with few, some and many interactions."
    layout = {"xaxis": axis("interactions of a user"), "yaxis": axis("advantage", [0, 1])}
    return [Figure("activity", "Who leaks", text, traces, layout)] if traces else []


def _known(results: Mapping[str, Any]) -> list[Figure]:
    """The advantage by the share of users whose attribute the attacker knows."""
    state, traces = last_state(results), []
    rows = [row for row in results["attacks"] if row["state"] == state and row["view"] == "served"]
    if len({row["leak_ratio"] for row in rows}) < 2:
        return []
    for name in dict.fromkeys(row["attribute"] for row in rows):
        best: dict[float, float] = {}
        for row in rows:
            if row["attribute"] == name:
                ratio = row["leak_ratio"]
                best[ratio] = max(best.get(ratio, 0.0), row["metrics"]["advantage"]["mean"])
        traces.append({"type": "scatter", "mode": "lines+markers", "name": name, "x": [*best], "y": [*best.values()]})
    text = "The strongest attacker by how many users' attributes it knows."
    layout = {"xaxis": axis("share of users known", [0, 1]), "yaxis": axis("advantage", [0, 1])}
    return [Figure("known", "What knowing more users gives", text, traces, layout)]


def axis(title: str, span: list[float] | None = None) -> dict[str, Any]:
    """An axis with a title, from and to ``span`` if that is given."""
    return {"title": {"text": title}, "automargin": True, **({"range": span} if span else {})}


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: less advantage (first) and more usefulness (second)."""
    best, found = float("-inf"), []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if y > best:
            best = y
            found.append((x, y))
    return found


def front_line(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The dotted line through the :func:`front`."""
    found = front(points)
    return {
        "type": "scatter", "mode": "lines", "name": "front", "x": [x for x, _ in found], "y": [y for _, y in found],
        "line": {"dash": "dot", "shape": "hv", "color": "#808080"}, "hoverinfo": "skip",
    }  # fmt: skip
