"""What each defense protects and costs at its own operating points, as a table and a figure.

    python -m benchmarks.front --out front.jsonl --figure docs/figures/front.svg

Each point takes one run for each seed. Runs that are in ``--out`` already are not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality import collect

_OWN = ("--defense=calibrated", "--calibrated_labels=own")
#: The arguments of each operating point, by defense; ``--defense`` where it does not have the defense's name.
POINTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "calibrated": (
        ("--stage=in",),
        ("--stage=post",),
        ("--stage=post", "--calibrated_steps=30"),
        ("--stage=post", "--calibrated_steps=10"),
        ("--stage=post", "--calibrated_steps=4"),
    ),
    "calibrated, own labels": (
        (*_OWN, "--stage=in"),
        (*_OWN, "--stage=post"),
        (*_OWN, "--stage=post", "--calibrated_steps=4"),
    ),
    "raid": (("--raid_eta=0.1",), ("--raid_eta=1",)),
    "attrcloak": (
        ("--unlearn_max_steps=30",),
        ("--unlearn_max_steps=90",),
        ("--attrcloak_mode=data_free", "--unlearn_max_steps=90"),
    ),
    "u2u": ((),),
    "d2d": ((),),
    "adversarial": (
        ("--stage=in",),
        ("--stage=post", "--adversarial_weight=0.01"),
        ("--stage=post",),
        ("--stage=post", "--adversarial_weight=0.05"),
    ),
    "leace": ((), ("--leace_covariances=12",), ("--leace_covariances=24",)),
    "swd": (("--calibrate=True",), ("--swd_weight=10", "--calibrate=True")),
    "rap": ((),),
    "noise": (("--noise_scale=0.5",), ("--noise_scale=1",), ("--noise_scale=2",)),
    "dp": (("--dp_epsilon=50",),),
}
_NOT_ON_GRAPHS = ("dp",)  # DP's guarantee does not hold where vectors are propagated
_RUN = ("--attackers=[logistic,svm,random_forest,quadratic]", "--attack_repeats=1", "--attack_views=served")


def main() -> None:
    """Runs what is missing, prints the table, draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--model", default="BPR")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender,age")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    shared = {"model": arguments.model, "protected": arguments.attributes, "dataset": arguments.dataset}
    ways = {
        (defense, extra): [*_named(defense, extra), *_RUN, *arguments.rest]
        for defense, points in POINTS.items()
        for extra in points
        if not (arguments.model in ("LightGCN", "NGCF") and defense in _NOT_ON_GRAPHS)
    }
    keys = [{**shared, "seed": seed, "arguments": way} for way in ways.values() for seed in arguments.seeds]
    rows = collect(keys, arguments.out)
    points = [
        (defense, extra, *_point([row["results"] for row in rows if row["key"]["arguments"] == way]))
        for (defense, extra), way in ways.items()
    ]
    print("| defense | settings | NDCG@10 kept | worst case, mean over attributes |\n| --- | --- | --- | --- |")
    for defense, extra, kept, worst in points:
        print(f"| {defense} | {' '.join(extra) or 'defaults'} | {kept:.3f} | {worst:.3f} |")
    if arguments.figure:
        draw(points, arguments.figure)


def _named(defense: str, extra: tuple[str, ...]) -> list[str]:
    return [*extra] if any(each.startswith("--defense=") for each in extra) else [f"--defense={defense}", *extra]


def _point(results: list[dict[str, Any]]) -> tuple[float, float]:
    """NDCG@10 relative to undefended, and the worst-case advantage averaged over attributes; means over seeds."""
    kept = mean(r["utility"]["defended"]["ndcg@10"] / r["utility"]["undefended"]["ndcg@10"] for r in results)
    return kept, mean(mean(w["defended"]["advantage"] for w in r["worst_case"].values()) for r in results)


def draw(points: list[tuple[str, tuple[str, ...], float, float]], path: Path) -> None:
    """Draws NDCG@10 kept against the worst case, a line for each defense; points up and to the left are best."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "recbole-aia"  # the same numbers give the same file
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for defense in POINTS:
        own = sorted((worst, kept) for name, _, kept, worst in points if name == defense)
        if not own:
            continue
        panel.plot(*zip(*own, strict=True), "D-" if defense.startswith("calibrated") else "o-", label=defense)
    panel.set_xlabel("worst-case advantage, mean over attributes")
    panel.set_ylabel("NDCG@10 kept")
    panel.legend(loc="best", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
