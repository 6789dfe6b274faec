"""What undefended models give away: every attacker on every view and attribute, as tables in Markdown.

    python -m benchmarks.leaks --out leaks.jsonl --models BPR NeuMF DMF LightGCN -- --protocol=strict --attack_views=all

Arguments after ``--`` go to every run. Each run appends one JSON line to ``--out``. Runs that are in ``--out`` already
are not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.quality import collect


def main() -> None:
    """Runs what is missing, then prints a table for each attribute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender,age,occupation")
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    rest = ["--defense=none", *arguments.rest]
    key = {"protected": arguments.attributes, "seed": arguments.seed, "arguments": rest, "dataset": arguments.dataset}
    rows = collect([{"model": model, **key} for model in arguments.models], arguments.out)
    for attribute in rows[0]["results"]["worst_case"]:
        print(f"\n### {arguments.dataset}, {attribute}\n")
        print(table({row["key"]["model"]: row["results"] for row in rows}, attribute))


def table(results: dict[str, dict[str, Any]], attribute: str) -> str:
    """The advantages of all attackers: a line for each model and view, a column for each attacker.

    The last two columns repeat the largest advantage of the line with its interval, and the floor of that attacker.

    Args:
        results: the content of results.json by model, from runs without a defense.
        attribute: the attribute of the table.
    """
    lines: list[str] = []
    for model, result in results.items():
        views: dict[str, list[dict[str, Any]]] = {}
        for attack in result["attacks"]:
            if attack["attribute"] == attribute:
                views.setdefault(attack["view"], []).append(attack)
        if not lines:
            attackers = [attack["attacker"] for attack in next(iter(views.values()))]
            lines = [_line("model", "view", *attackers, "largest", "its floor"), _line(*["---"] * (len(attackers) + 4))]
        lines += [_line(model, view, *_cells(attacks)) for view, attacks in views.items()]
    return "\n".join(lines)


def _cells(attacks: list[dict[str, Any]]) -> list[str]:
    gains = [attack["metrics"]["advantage"] for attack in attacks]
    largest = max(range(len(gains)), key=lambda i: gains[i]["mean"])
    low, high = gains[largest]["ci95"]
    floor = attacks[largest]["floor"]["permuted_advantage95"]
    cells = [f"{gain['mean']:.2f}" for gain in gains]
    cells[largest] = f"**{cells[largest]}**"
    return [*cells, f"{gains[largest]['mean']:.3f} ({low:.2f}-{high:.2f})", f"{floor:.3f}"]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
