"""The tables of a comparison as files: Markdown, LaTeX, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from recbole_aia.config.grid import Cell, Grid
from recbole_aia.report.compared import Compared, Line, best, blocks, lines, said_of, tests, tidy
from recbole_aia.report.measures import Measure, measure
from recbole_aia.report.published import published
from recbole_aia.report.seeds import interval
from recbole_aia.storage.cells import escaped
from recbole_aia.storage.files import write_whole

_LEGEND = (
    "Means over seeds, and half the width of their 95 % interval (Student's t). In bold the best defended line of a "
    "block, and those within its interval; lines of fewer seeds do not take part. F1, accuracies and AUC have no best: "
    "an attacker below chance is read in reverse."
)


def cells(grid: Grid, table: Sequence[Line]) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Headings, cells, and which cells are in bold."""
    measures = [measure(given) for given in grid.measures]
    printed = [each.printed is not None and bool(grid.paper) for each in measures]
    heads = ["data", "model", "attribute", "method"]
    heads += [f"{each.name} (published)" if shown else each.name for each, shown in zip(measures, printed, strict=True)]
    rows: list[list[str]] = []
    bold: list[list[bool]] = []
    for block in blocks(table):
        winners = [best(each, block) for each in measures]
        for line in block:
            said = [_cell(grid, each, line) for each in measures]
            attribute = said_of(line.attribute, line.protected, table)
            rows.append([line.dataset, line.model, attribute, line.method, *said])
            bold.append([False] * 4 + [line.method in each for each in winners])
    return heads, rows, bold


def _cell(grid: Grid, each: Measure, line: Line) -> str:
    values = line.seeds(each.name)
    text = interval(values, each.places) if each.places or not values else f"{mean(values):.0f}"
    if each.name in line.beside:
        return f"{text} ({line.beside[each.name]:.{each.places}f})"
    if each.printed is None or not grid.paper:
        return text
    return f"{text} ({_published(grid, each.printed, line)})"


def _published(grid: Grid, printed: Mapping[str, Any], line: Line) -> str:
    """The paper's number on the line's data set; if it has none there and the grid names another, on that one."""
    by_model = {key: value.get(line.model, "") for key, value in printed.items() if isinstance(value, Mapping)}
    about = {"attacker": "", "model": line.model, **printed, **by_model, **grid.published(line.method)}
    other = about.pop("dataset", line.dataset)
    asked = [about.pop("attribute")] if "attribute" in about else [" and ".join(line.protected), line.attribute]
    for dataset, attribute in product(dict.fromkeys((line.dataset, other)), asked):
        number = published(grid.paper, dataset=dataset, attribute=attribute, **about)
        if number != "-":
            return number if dataset == line.dataset else f"{number}, {dataset}"
    return "-"


def markdown(grid: Grid, table: Sequence[Line]) -> str:
    """The table in Markdown."""
    return markdown_table(*cells(grid, table))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[Sequence[bool]]) -> str:
    """A table in Markdown from its headings, its cells, and which cells are in bold."""
    said = [
        [f"**{text}**" if is_bold else text for text, is_bold in zip(row, marks, strict=True)]
        for row, marks in zip(rows, bold, strict=True)
    ]
    body = [list(heads), ["---"] * len(heads), *said]
    return "".join(f"| {' | '.join(map(_plain, row))} |\n" for row in body)


def _plain(text: str) -> str:
    """A text that ends no cell and begins no tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def latex(grid: Grid, table: Sequence[Line]) -> str:
    """The table in LaTeX, for the package booktabs; blocks are set apart."""
    heads, rows, bold = cells(grid, table)
    lines_ = [rf"\begin{{tabular}}{{{'l' * 4}{'r' * (len(heads) - 4)}}}", r"\toprule", _row(heads), r"\midrule"]
    last: list[str] | None = None
    for row, marks in zip(rows, bold, strict=True):
        if last is not None and row[:3] != last[:3]:
            lines_.append(r"\midrule")
        lines_.append(_row([rf"\textbf{{{_tex(c)}}}" if b else _tex(c) for c, b in zip(row, marks, strict=True)], True))
        last = row
    return "\n".join([*lines_, r"\bottomrule", r"\end{tabular}", ""])


_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _row(row: Sequence[str], ready: bool = False) -> str:
    return " & ".join(row if ready else map(_tex, row)) + r" \\"


def write_tables(
    grid: Grid, compared: Sequence[Compared], failed: Sequence[tuple[Cell, str]], folder: Path
) -> dict[str, str]:
    """Writes tidy numbers, tests, the table in both forms, and the failed runs; returns the files by their kind.

    The tidy numbers are written as Parquet too if pandas can (``pip install 'recbole-aia[compare]'``).
    """
    table = lines(grid, compared)
    numbers = tidy(compared)
    files = {
        "numbers": ("numbers.csv", partial(_csv, numbers)),
        "tests": ("tests.csv", partial(_csv, tests(grid, table))),
        "markdown": ("table.md", partial(_text, _page(grid, table, failed))),
        "latex": ("table.tex", partial(_text, latex(grid, table))),
        "failed": ("failed.csv", partial(_csv, _failures(failed))),
    }
    if _has_parquet():
        files["parquet"] = ("numbers.parquet", partial(_parquet, numbers))
    for name, write in files.values():
        write_whole(folder / name, write)
    return {kind: str(folder / name) for kind, (name, _) in files.items()}


def _page(grid: Grid, table: Sequence[Line], failed: Sequence[tuple[Cell, str]]) -> str:
    heading = f"## {grid.title}\n\n" if grid.title else ""
    said = "".join(
        f"- {cell.model}, {cell.dataset}, {cell.method}, seed {cell.seed}: {reason}\n" for cell, reason in failed
    )
    legend = f"\n{_LEGEND}\n" + ("A second number in brackets is the paper's.\n" if grid.paper else "")
    return f"{heading}{markdown(grid, table)}{legend}" + (f"\nWithout a result:\n\n{said}" if said else "")


def _failures(failed: Sequence[tuple[Cell, str]]) -> pd.DataFrame:
    rows = [
        {"model": cell.model, "dataset": cell.dataset, "method": cell.method, "seed": cell.seed, "reason": reason}
        for cell, reason in failed
    ]
    return pd.DataFrame(rows, columns=["model", "dataset", "method", "seed", "reason"])


def _csv(frame: pd.DataFrame, aside: Path) -> None:
    escaped(frame).to_csv(aside, index=False, lineterminator="\n")


def _parquet(frame: pd.DataFrame, aside: Path) -> None:
    frame.to_parquet(aside, index=False)


def _text(text: str, aside: Path) -> None:
    aside.write_text(text, encoding="utf-8")


def _has_parquet() -> bool:
    return any(find_spec(name) is not None for name in ("pyarrow", "fastparquet"))
