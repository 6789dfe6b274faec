"""The page of a comparison, from the results.json files of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from recbole_aia.config.grid import Cell, Grid
from recbole_aia.config.text import to_yaml
from recbole_aia.report.compared import Compared, Line, blocks, lines
from recbole_aia.report.comparison_tables import cells, half_width
from recbole_aia.report.measures import state_of
from recbole_aia.report.page.build import rendered
from recbole_aia.report.page.figures import Figure, axis, front_line

_METRIC = "ndcg@10"


def comparison_page(grid: Grid, compared: Sequence[Compared], failed: Sequence[tuple[Cell, str]]) -> str:
    """The page of a comparison as HTML: who protects, the plane of privacy and usefulness, and the table."""
    table = lines(grid, compared)
    heads, rows, bold = cells(grid, table)
    drawn = _planes(compared)
    return rendered(
        "comparison.html",
        drawn,
        heading=grid.title or "Defenses compared",
        about=f"{len(compared)} runs: {', '.join(grid.models)} on {', '.join(grid.datasets)}, {len(grid.seeds)} seeds.",
        said=_sentences(table, compared),
        heads=heads,
        lines=list(zip(rows, bold, strict=True)),
        failed=[f"{cell.model}, {cell.dataset}, {cell.method}, seed {cell.seed}: {why}" for cell, why in failed],
        grid=to_yaml(_plain(asdict(grid))),
        version="",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _sentences(table: Sequence[Line], compared: Sequence[Compared]) -> list[str]:
    """For each block, the methods whose strongest attacker is at its floor in all seeds, and what they keep."""
    said = []
    for block in blocks(table):
        dataset, model, attribute = block[0].block
        good = []
        for line in block:
            runs = [each for each in compared if _is_of(each, line)]
            cases = [run.results["worst_case"][attribute][state_of(run.results)] for run in runs]
            if all("floor" in case and case["advantage"] <= case["floor"] for case in cases):
                good.append(f"{line.method} ({_kept_text(runs)})")
        who = ", ".join(good) if good else "no method"
        said.append(f"{model} on {dataset}, {attribute}: at or below the floor in every seed: {who}.")
    return said


def _is_of(run: Compared, line: Line) -> bool:
    found = (run.cell.dataset, run.cell.model, run.cell.method)
    return found == (line.dataset, line.model, line.method) and line.attribute in run.results["worst_case"]


def _kept_text(runs: Sequence[Compared]) -> str:
    kept = [share for share in map(_kept, runs) if share is not None]
    return f"{100 * mean(kept):.0f} % of NDCG@10" if kept else "no NDCG@10"


def _kept(run: Compared) -> float | None:
    utility = run.results["utility"]
    before, after = utility["undefended"].get(_METRIC), utility[state_of(run.results)].get(_METRIC)
    return after / before if before and after is not None else None


def _planes(compared: Sequence[Compared]) -> list[Figure]:
    """A plane for each data set and model: mean advantage of the worst cases against NDCG@10 kept, and the front."""
    found = []
    for place, (dataset, model) in enumerate(dict.fromkeys((run.cell.dataset, run.cell.model) for run in compared)):
        runs = [run for run in compared if (run.cell.dataset, run.cell.model) == (dataset, model)]
        traces, points = [], []
        for method in dict.fromkeys(run.cell.method for run in runs):
            own = [run for run in runs if run.cell.method == method]
            xs = [mean(c[state_of(r.results)]["advantage"] for c in r.results["worst_case"].values()) for r in own]
            ys = [share for share in map(_kept, own) if share is not None]
            if not ys:
                continue
            points.append((mean(xs), mean(ys)))
            traces.append({
                "type": "scatter", "mode": "markers", "name": method, "x": [mean(xs)], "y": [mean(ys)],
                "error_x": {"type": "data", "array": [half_width(xs)]},
                "error_y": {"type": "data", "array": [half_width(ys)]},
                "marker": {"size": 10},
            })  # fmt: skip
        traces.append(front_line(points))
        layout = {
            "xaxis": axis("advantage of the strongest attacker, mean over attributes"), "yaxis": axis("NDCG@10 kept"),
            "height": 480,
        }  # fmt: skip
        text = "Left is private, up is useful. The dotted line joins the methods that no other beats in both."
        found.append(Figure(f"plane{place}", f"{model} on {dataset}", text, traces, layout))
    return found
