"""The numbers of a comparison, from results.json files alone: tidy, by line of the table, and tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from scipy.stats import ttest_rel

from recbole_aia.config.grid import Cell, Grid
from recbole_aia.evaluator.statistics import holm
from recbole_aia.report.measures import LOWER, Measure, measure
from recbole_aia.report.seeds import half_width


@dataclass(frozen=True)
class Compared:
    """A run of a comparison and the content of its results.json."""

    cell: Cell
    results: Mapping[str, Any]


def tidy(compared: Sequence[Compared]) -> pd.DataFrame:
    """All numbers of all runs, one a row: attacks, worst cases, recommendation and seconds.

    Returns:
        Columns ``model, dataset, method, seed, protected, attack, state, view, attribute, attacker, leak_ratio, metric,
        value, low, high``; ``attack`` is empty for the main one, the name of one of ``further_attacks``, or
        ``informed`` for old and new vectors together; ``low`` and ``high`` are the ends of a 95 % interval within the
        run, where there is one.
    """
    rows = [row for each in compared for row in _rows(each)]
    heads = [
        "model", "dataset", "method", "seed", "protected", "attack", "state", "view", "attribute", "attacker",
        "leak_ratio", "metric", "value", "low", "high",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=heads)


def _rows(compared: Compared) -> Iterator[dict[str, Any]]:
    cell, results = compared.cell, compared.results
    empty = dict.fromkeys(("attack", "state", "view", "attribute", "attacker"), "")
    run = {
        **empty,
        "model": cell.model, "dataset": cell.dataset, "method": cell.method, "seed": cell.seed,
        "protected": " ".join(results["run"]["attributes"]),
    }  # fmt: skip
    yield from _attack_rows(run, results)
    for attribute, found in results.get("informed", {}).get("attributes", {}).items():
        for name in ("beyond_old", "floor"):
            if name in found:
                yield {**run, "attack": "informed", "attribute": attribute, "metric": name, "value": found[name]}
    for attribute, states in results["worst_case"].items():
        for state, worst in states.items():
            about = {"state": state, "view": worst["view"], "attribute": attribute, "attacker": worst["attacker"]}
            for name in ("advantage", "floor"):
                if name in worst:
                    yield {**run, **about, "metric": f"worst_case_{name}", "value": worst[name]}
    for state, metrics in results["utility"].items():
        for name, value in metrics.items():
            yield {**run, "state": state, "metric": name, "value": value}
    for name, value in results["run"]["seconds"].items():
        yield {**run, "metric": f"seconds_{name}", "value": value}


def _attack_rows(run: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The metrics of all attackers in the main attack and in the further ones; ``run`` says which run it is."""
    for attack, rows in {"": results["attacks"], **results.get("further_attacks", {})}.items():
        for row in rows:
            about = {key: row[key] for key in ("state", "view", "attribute", "attacker", "leak_ratio")}
            for name, value in row["metrics"].items():
                low, high = value["ci95"]
                about |= {"attack": attack, "metric": name, "value": value["mean"], "low": low, "high": high}
                yield {**run, **about}


@dataclass(frozen=True)
class Line:
    """A line of the table: a method on a model, a data set and an attribute; its numbers by measure and seed.

    ``protected`` are the attributes that were protected together with this one, itself among them.
    """

    dataset: str
    model: str
    attribute: str
    protected: tuple[str, ...]
    method: str
    numbers: Mapping[str, Mapping[int, float]]
    beside: Mapping[str, float]

    def seeds(self, measure: str) -> list[float]:
        """The numbers of a measure, one a seed."""
        return [*self.numbers[measure].values()]

    @property
    def block(self) -> tuple[str, str, str, tuple[str, ...]]:
        """Lines of one block are compared with each other."""
        return self.dataset, self.model, self.attribute, self.protected

    def has(self, cell: Cell) -> bool:
        """Whether a run is one of this line's."""
        asked = cell.attributes or self.protected
        return (self.dataset, self.model, self.protected, self.method) == (cell.dataset, cell.model, asked, cell.method)


def lines(grid: Grid, compared: Sequence[Compared], *, by_attribute: bool = False) -> list[Line]:
    """The table's lines in the order of the grid.

    A run has a line for each attribute, or one for all of them if no measure is about an attribute, unless
    ``by_attribute``.
    """
    measures = [measure(each) for each in grid.measures]
    together = not by_attribute and all(each.of_run for each in measures)
    groups: dict[tuple[str, str, str, tuple[str, ...], str], list[Compared]] = {}
    for each in compared:
        protected = each.cell.attributes or tuple(each.results["run"]["attributes"])
        for attribute in [", ".join(protected)] if together else each.results["worst_case"]:
            key = (each.cell.dataset, each.cell.model, attribute, protected, each.cell.method)
            groups.setdefault(key, []).append(each)
    order = {name: place for place, name in enumerate(grid.lines())}
    places = {key: place for place, key in enumerate(dict.fromkeys(key[:4] for key in groups))}
    return [
        Line(*key, *_numbers(measures, group, key[2]))
        for key, group in sorted(groups.items(), key=lambda pair: (places[pair[0][:4]], order[pair[0][4]]))
    ]


def said_of(attribute: str, protected: Sequence[str], table: Sequence[Line]) -> str:
    """An attribute as a table names it: with those protected beside it, if the table has it with several."""
    several = {line.protected for line in table if line.attribute == attribute}
    return attribute if len(several) < 2 else f"{attribute} ({' and '.join(protected)} protected)"


def _numbers(
    measures: Sequence[Measure], group: Sequence[Compared], attribute: str
) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    values: dict[str, dict[int, float]] = {}
    beside: dict[str, float] = {}
    for each in measures:
        found = {run.cell.seed: each.value(run.results, attribute) for run in group}
        values[each.name] = {seed: value for seed, value in found.items() if value is not None}
        if each.beside is not None:
            further = [each.beside(run.results, attribute) for run in group]
            known = [value for value in further if value is not None]
            if known:
                beside[each.name] = mean(known)
    return values, beside


def best(each: Measure, block: Sequence[Line]) -> set[str]:
    """The methods of a block that stand in bold: the best mean, and those within the 95 % interval of its mean.

    Lines without a defense do not take part, nor lines with fewer seeds than others have. Bold is a reading aid,
    because the best is picked from the same numbers; :func:`tests` tests.
    """
    values = {line.method: line.seeds(each.name) for line in block if not _is_undefended(line.method, block)}
    most = max(map(len, values.values()), default=0)
    values = {method: found for method, found in values.items() if len(found) == most}
    if not each.better or not most:
        return set()
    pick = min if each.better == LOWER else max
    first = pick(values, key=lambda method: mean(values[method]))
    near = half_width(values[first])
    return {method for method, found in values.items() if abs(mean(found) - mean(values[first])) <= near}


def _first(each: Measure, values: Mapping[str, Mapping[int, float]]) -> str:
    """The method with the best mean."""
    pick = min if each.better == LOWER else max
    return pick(values, key=lambda method: mean(values[method].values()))


def _is_undefended(method: str, block: Sequence[Line]) -> bool:
    return method in ("none", "undefended") and len(block) > 1


def _p_value(first: Sequence[float], second: Sequence[float]) -> float:
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(set(differences)) == 1:
        return float(differences[0] == 0)
    return float(ttest_rel(first, second)[1])


def tests(grid: Grid, table: Sequence[Line]) -> pd.DataFrame:
    """Paired t-tests over seeds of each method against the best of its block, Holm-adjusted within block and measure.

    Returns:
        Columns ``dataset, model, attribute, measure, best, method, difference, p, p_holm``.
    """
    rows: list[dict[str, Any]] = []
    for block in blocks(table):
        for each in (measure(given) for given in grid.measures):
            attribute = said_of(block[0].attribute, block[0].protected, table)
            about = {"dataset": block[0].dataset, "model": block[0].model, "attribute": attribute}
            rows += [{**about, **row} for row in _tests_of(each, block)]
    heads = ["dataset", "model", "attribute", "measure", "best", "method", "difference", "p", "p_holm"]
    return pd.DataFrame(rows, columns=heads)


def _tests_of(each: Measure, block: Sequence[Line]) -> list[dict[str, Any]]:
    values = {line.method: line.numbers[each.name] for line in block if len(line.numbers[each.name]) > 1}
    if not each.better or len(values) < 2:
        return []
    defended = {name: found for name, found in values.items() if not _is_undefended(name, block)}
    first = _first(each, defended or values)
    found = []
    for method, own in values.items():
        shared = sorted(values[first].keys() & own.keys())
        if method == first or len(shared) < 2:
            continue
        ours, theirs = [values[first][seed] for seed in shared], [own[seed] for seed in shared]
        found.append((method, mean(theirs) - mean(ours), _p_value(ours, theirs)))
    adjusted = holm([p for *_, p in found])
    return [
        {"measure": each.name, "best": first, "method": method, "difference": gap, "p": p, "p_holm": holms}
        for (method, gap, p), holms in zip(found, adjusted, strict=True)
    ]


def blocks(table: Sequence[Line]) -> list[list[Line]]:
    """The lines of each block."""
    found: dict[tuple[str, str, str, tuple[str, ...]], list[Line]] = {}
    for line in table:
        found.setdefault(line.block, []).append(line)
    return list(found.values())
