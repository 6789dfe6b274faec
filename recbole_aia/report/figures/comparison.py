"""The figures of a comparison, from the results.json files of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from recbole_aia.config.grid import Grid
from recbole_aia.report.compared import Compared
from recbole_aia.report.figures.base import COLORS, Figure, Panel, Series, front_series
from recbole_aia.report.measures import state_of
from recbole_aia.report.seeds import half_width

_METRIC = "ndcg@10"
_ADVANTAGE = "advantage (0 guessing, 1 certain)"
_KEPT = "NDCG@10 kept (1 is all)"


def comparison_figures(grid: Grid, compared: Sequence[Compared]) -> list[Figure]:
    """For each data set and model the plane of privacy and usefulness, and what each varied key does."""
    found = []
    for place, (dataset, model) in enumerate(_pairs(compared), start=1):
        runs = [run for run in compared if (run.cell.dataset, run.cell.model) == (dataset, model)]
        found.append(_plane(f"plane-{place}", f"{model} on {dataset}", runs))
        for number, key in enumerate(grid.vary, start=1):
            found += _sensitivity(f"sensitivity-{place}-{number}", f"{key}, {model} on {dataset}", key, runs)
    return found


def kept(results: Mapping[str, Any]) -> float | None:
    """NDCG@10 of the last state over the undefended model's; ``None`` where it was not measured."""
    utility = results["utility"]
    before, after = utility["undefended"].get(_METRIC), utility[state_of(results)].get(_METRIC)
    return after / before if before and after is not None else None


def _pairs(compared: Sequence[Compared]) -> Iterator[tuple[str, str]]:
    return iter(dict.fromkeys((run.cell.dataset, run.cell.model) for run in compared))


def _plane(name: str, title: str, runs: Sequence[Compared]) -> Figure:
    """Mean advantage of the worst cases against NDCG@10 kept, a point for each method, and the front."""
    series, points = [], []
    for place, method in enumerate(dict.fromkeys(run.cell.method for run in runs)):
        own = [run for run in runs if run.cell.method == method]
        xs = [mean(case[state_of(run.results)]["advantage"] for case in run.results["worst_case"].values())
              for run in own]  # fmt: skip
        ys = [share for share in (kept(run.results) for run in own) if share is not None]
        if not ys:
            continue
        points.append((mean(xs), mean(ys)))
        is_open = place // len(COLORS) % 2 == 1
        series.append(
            Series(method, [mean(xs)], [mean(ys)], "points", place, is_open, x_ends=[_ends(xs)], y_ends=[_ends(ys)])
        )
    series.append(front_series(points))
    panel = Panel(f"strongest attacker's {_ADVANTAGE}, mean over attributes", _KEPT, series)
    text = (
        "Means over seeds with 95 % intervals. Left is private, up is useful. The dotted line joins the methods that "
        "no other beats in both."
    )
    return Figure(name, title, text, [panel], 480)


def _sensitivity(name: str, title: str, key: str, runs: Sequence[Compared]) -> list[Figure]:
    """Advantage and NDCG@10 kept by the values of a varied key, for each method that reads it; none without two."""
    lines: dict[str, dict[str, list[Compared]]] = {}
    for run in runs:
        words = run.cell.method.split(" ")
        value = next((word.removeprefix(f"{key}=") for word in words if word.startswith(f"{key}=")), None)
        if value is not None:
            rest = " ".join(word for word in words if not word.startswith(f"{key}="))
            lines.setdefault(rest, {}).setdefault(value, []).append(run)
    lines = {line: by_value for line, by_value in lines.items() if len(by_value) > 1}
    leaks = list[Series]()
    for line, by_value in lines.items():
        for attribute in dict.fromkeys(name for own in by_value.values() for name in own[0].results["worst_case"]):
            gains = {value: [_worst(run, attribute) for run in own] for value, own in by_value.items()}
            leaks += _curve(f"{line}, {attribute}", gains, len(leaks))
    useful = list[Series]()
    for line, by_value in lines.items():
        shares = {value: [kept(run.results) for run in own] for value, own in by_value.items()}
        useful += _curve(f"{line}, kept", shares, len(leaks) + len(useful))
    if not leaks:
        return []
    panels = [Panel(key, _ADVANTAGE, leaks, "What leaks", y_span=(0, 1))]
    panels += [Panel(key, _KEPT, useful, "What is kept")] if useful else []
    text = f"The strongest attacker, and what recommendations keep, by {key}: means over seeds with 95 % intervals."
    return [Figure(name, f"What {title} changes", text, panels, 330 * len(panels))]


def _worst(run: Compared, attribute: str) -> float | None:
    found: float | None = run.results["worst_case"].get(attribute, {}).get(state_of(run.results), {}).get("advantage")
    return found


def _curve(name: str, values: Mapping[str, Sequence[float | None]], color: int) -> list[Series]:
    """The mean over seeds at each value of a key, if there is one."""
    known = {value: [each for each in numbers if each is not None] for value, numbers in values.items()}
    known = {value: numbers for value, numbers in known.items() if numbers}
    means, ends = [mean(numbers) for numbers in known.values()], [_ends(numbers) for numbers in known.values()]
    return [Series(name, [*known], means, "both", color, color // len(COLORS) % 2 == 1, y_ends=ends)] if known else []


def _ends(values: Sequence[float]) -> tuple[float, float]:
    half = half_width(values)
    return mean(values) - half, mean(values) + half
