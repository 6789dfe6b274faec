"""The page of a comparison, from the results.json files of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from recbole_aia.config.grid import Cell, Grid
from recbole_aia.config.text import to_yaml
from recbole_aia.report.compared import Compared, Line, blocks, lines, said_of
from recbole_aia.report.comparison_tables import cells
from recbole_aia.report.figures.comparison import comparison_figures, kept
from recbole_aia.report.measures import state_of
from recbole_aia.report.page.build import rendered


def comparison_page(grid: Grid, compared: Sequence[Compared], failed: Sequence[tuple[Cell, str]]) -> str:
    """The page of a comparison as HTML: who protects, the plane of privacy and usefulness, and the table."""
    table = lines(grid, compared)
    heads, rows, bold = cells(grid, table)
    return rendered(
        "comparison.html",
        comparison_figures(grid, compared),
        heading=grid.title or "Defenses compared",
        about=f"{len(compared)} runs: {', '.join(grid.models)} on {', '.join(grid.datasets)}, {len(grid.seeds)} seeds.",
        said=_sentences(lines(grid, compared, by_attribute=True), compared),
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
        dataset, model, attribute = block[0].dataset, block[0].model, block[0].attribute
        good = []
        for line in block:
            runs = [each for each in compared if line.has(each.cell)]
            cases = [run.results["worst_case"][attribute][state_of(run.results)] for run in runs]
            if all("floor" in case and case["advantage"] <= case["floor"] for case in cases):
                good.append(f"{line.method} ({_kept_text(runs)})")
        who = ", ".join(good) if good else "no method"
        attribute = said_of(attribute, block[0].protected, table)
        said.append(f"{model} on {dataset}, {attribute}: at or below the floor in every seed: {who}.")
    return said


def _kept_text(runs: Sequence[Compared]) -> str:
    shares = [share for share in (kept(run.results) for run in runs) if share is not None]
    return f"{100 * mean(shares):.0f} % of NDCG@10" if shares else "no NDCG@10"
