"""AttrCloak's dynamic weight against fixed weights: what each protects and costs, as a table and a figure.

    python -m benchmarks.weights --out weights.jsonl --figure docs/figures/attrcloak_weights.svg

The figure corresponds to figure 5 of AttrCloak's slides. Each weight takes one run for each seed. Runs that are in
``--out`` already are not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality import collect

FIXED = tuple(round(0.1 * k, 1) for k in range(1, 10))
ATTACKER = "mlp_raid"
_RUN = ("--defense=attrcloak", f"--attackers=[{ATTACKER}]", "--attack_repeats=1")


def main() -> None:
    """Runs what is missing, prints the table, draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--model", default="NeuMF")
    parser.add_argument("--attributes", default="gender,age,occupation")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    arguments = parser.parse_args()
    shared = {"model": arguments.model, "protected": arguments.attributes, "dataset": "ml-100k"}
    ways = {"dynamic": [], **{f"{a:g}": ["--attrcloak_weighting=fixed", f"--attrcloak_alpha={a:g}"] for a in FIXED}}
    keys = [
        {**shared, "seed": seed, "arguments": [*_RUN, *extra]} for seed in arguments.seeds for extra in ways.values()
    ]
    rows = collect(keys, arguments.out)
    lines = {
        way: summary([row["results"] for row in rows if row["key"]["arguments"] == [*_RUN, *extra]])
        for way, extra in ways.items()
    }
    print(table(lines))
    if arguments.figure:
        draw(lines, arguments.figure)


def summary(results: list[dict[str, Any]]) -> dict[str, float]:
    """Means over seeds: NDCG@10 relative to undefended, and balanced accuracy by attribute."""
    ratio = [r["utility"]["defended"]["ndcg@10"] / r["utility"]["undefended"]["ndcg@10"] for r in results]
    accuracy: dict[str, list[float]] = {}
    for attack in (a for r in results for a in r["attacks"] if (a["state"], a["view"]) == ("defended", "served")):
        accuracy.setdefault(attack["attribute"], []).append(attack["metrics"]["balanced_accuracy"]["mean"])
    return {"NDCG@10 kept": mean(ratio), **{name: mean(values) for name, values in accuracy.items()}}


def table(lines: dict[str, dict[str, float]]) -> str:
    """A table in Markdown with a line for each weight."""
    columns = list(next(iter(lines.values())))
    head = [["weight", *columns], ["---"] * (len(columns) + 1)]
    rows = [[way, *(f"{line[column]:.3f}" for column in columns)] for way, line in lines.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*head, *rows))


def draw(lines: dict[str, dict[str, float]], path: Path) -> None:
    """Draws a panel for each attribute: NDCG@10 kept against balanced accuracy, a point for each weight."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "recbole-aia"  # the same numbers give the same file
    names = [column for column in next(iter(lines.values())) if column != "NDCG@10 kept"]
    figure = Figure(figsize=(4 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        fixed = [(line[name], line["NDCG@10 kept"]) for way, line in lines.items() if way != "dynamic"]
        panel.plot(*zip(*fixed, strict=True), "o-", color="0.55", label="fixed")
        for way, line in lines.items():
            panel.annotate(
                way, (line[name], line["NDCG@10 kept"]), fontsize=8, xytext=(4, 4), textcoords="offset points"
            )
        dynamic = lines["dynamic"]
        panel.plot(dynamic[name], dynamic["NDCG@10 kept"], "D", color="C3", label="dynamic")
        panel.set_xlabel(f"balanced accuracy, {name}")
    panels[0].set_ylabel("NDCG@10 kept")
    panels[0].legend(loc="best", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
