"""Runs a defense over seeds and prints what it protects and costs, with intervals over the seeds.

    python -m benchmarks.quality --out q.jsonl --models NeuMF --attributes gender age -- --defense=raid

Each word after ``--attributes`` is a run of its own; ``gender,age`` protects both together. Arguments after ``--`` go
to every run. Each run appends one JSON line to ``--out``. Runs that are in ``--out`` already are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from recbole_aia import run_recbole_aia

METRICS = ("ndcg@10", "hit@10")


def main() -> None:
    """Runs what is missing, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", nargs="+", default=["gender,age"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    keys = [
        {"model": m, "protected": a, "seed": s, "arguments": arguments.rest, "dataset": arguments.dataset}
        for m in arguments.models
        for a in arguments.attributes
        for s in arguments.seeds
    ]
    print_tables(collect(keys, arguments.out))


def collect(keys: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Runs the keys that are missing in a file of JSON lines, and returns the lines of all ``keys``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = list(_read(out))
    for key in keys:
        if not any(row["key"] == key for row in done):
            done.append({"key": key, "results": _run(key)})
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[-1]) + "\n")
    return [row for row in done if row["key"] in keys]


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Prints attacks and utility in Markdown, a line for each model and protected attributes."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["key"]["model"], row["key"]["protected"]), []).append(row["results"])
    print("| model | protected | attribute | attacker | AUC | balanced accuracy | advantage | floor |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (model, protected), results in groups.items():
        for line in _attack_lines(results):
            print(f"| {model} | {protected} | {line} |")
    print("\n| model | protected | metric | undefended | defended | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for (model, protected), results in groups.items():
        for metric in METRICS:
            utility = [r["utility"] for r in results]
            before = [u["undefended"][metric] for u in utility]
            after = [u.get("defended", u["undefended"])[metric] for u in utility]
            ratio = [a / b for a, b in zip(after, before, strict=True)]
            cells = interval(before, 4), interval(after, 4), interval(ratio)
            print(f"| {model} | {protected} | {metric} | {' | '.join(cells)} |")


def _attack_lines(results: list[dict[str, Any]]) -> Iterator[str]:
    cells: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for result in results:
        for attack in result["attacks"]:
            attacker = attack["attacker"] if attack["view"] == "served" else f"{attack['attacker']} on {attack['view']}"
            pair = cells.setdefault((attack["attribute"], attacker), {})
            pair.setdefault(attack["state"], []).append(attack)
    for (attribute, attacker), states in cells.items():
        columns = [
            " → ".join(interval([a["metrics"][metric]["mean"] for a in attacks]) for attacks in states.values())
            for metric in ("auc", "balanced_accuracy", "advantage")
        ]
        floor = mean(a["floor"]["permuted_advantage95"] for attacks in states.values() for a in attacks)
        yield " | ".join([attribute, attacker, *columns, f"{floor:.3f}"])
    for attribute in results[0]["worst_case"]:
        worst = [result["worst_case"][attribute] for result in results]
        gains = [interval([w[state]["advantage"] for w in worst]) for state in worst[0]]
        yield f"{attribute} | **worst case** | | | **{' → '.join(gains)}** | "


def interval(values: list[float], places: int = 3) -> str:
    """The mean over seeds, and the half-width of its 95 % interval by Student's t distribution."""
    if len(values) < 2:
        return f"{values[0]:.{places}f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{places}f} ± {half:.{places}f}"


def _run(key: dict[str, Any]) -> dict[str, Any]:
    attributes = f"--attributes=[{key['protected']}]"
    argv = [attributes, f"--seed={key['seed']}", "--show_progress=False", "--state=warning", *key["arguments"]]
    results: dict[str, Any] = run_recbole_aia(key["model"], key["dataset"], argv=argv)["aia"]
    return results


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    main()
