"""How many weights the map of calibrated may have: a rich map fits single users, and so writes their labels down.

    python -m benchmarks.capacity --models LightGCN --weights 0.01 0.03 0.1 0.5

Trains the undefended twin or finds it in ``saved/``. Learns a map with each number of weights a user (of a dimension's
movement; :func:`recbole_aia.losses.learn_map` takes 0.03), and attacks the difference of old and new vectors. Prints a
JSON line for each run, and a table of means over seeds: what the old vectors alone tell, what the difference tells,
what the new vectors alone tell, and the NDCG@10 kept on test items.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from statistics import mean
from typing import Any

import torch

from benchmarks.trained import Twin
from recbole_aia import AttributeInferenceEvaluator, learn_protection
from recbole_aia.losses.calibrated import mapping

_ATTACKERS = ["logistic", "svm"]


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["LightGCN"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender", help="protected together, by commas")
    parser.add_argument("--weights", nargs="+", type=float, default=[0.01, 0.03, 0.1, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    rows = []
    for model, seed in product(arguments.models, arguments.seeds):
        twin = Twin(model, arguments.dataset, arguments.attributes, seed, arguments.rest)
        for weights in arguments.weights:
            rows.append({"model": model, "seed": seed, "weights": weights, **_run(twin, weights, seed)})
            print(json.dumps(rows[-1]), flush=True)
    print("| model | weights a user | attribute | old alone | difference | new alone | NDCG@10 kept |")
    print(f"| {' | '.join(['---'] * 7)} |")
    for model, weights in product(arguments.models, arguments.weights):
        group = [row for row in rows if (row["model"], row["weights"]) == (model, weights)]
        kept = f"{mean(row['kept'] for row in group):.3f}"
        for name in group[0]["attributes"]:
            cells = [f"{mean(row['attributes'][name][view] for row in group):.3f}" for view in _VIEWS]
            print(f"| {model} | {weights:g} | {name} | {' | '.join(cells)} | {kept} |")


_VIEWS = ("old", "difference", "new")


def _run(twin: Twin, weights: float, seed: int) -> dict[str, Any]:
    old, usual = twin.users.numpy(), (mapping.WEIGHTS_A_USER, mapping.FREQUENCIES)
    # A rich map has more waves; 32 of them and all axes make 129 weights at most.
    mapping.WEIGHTS_A_USER, mapping.FREQUENCIES = weights, max(usual[1], int(weights * len(old) / 4))
    try:
        new = learn_protection(old, twin.labels, activity=twin.activity, seed=seed)[0]
    finally:
        mapping.WEIGHTS_A_USER, mapping.FREQUENCIES = usual
    evaluator = AttributeInferenceEvaluator(attackers=_ATTACKERS, attack_repeats=1, show_progress=False)
    found: dict[str, dict[str, float]] = {name: {} for name in twin.labels}
    for view, vectors in zip(_VIEWS, (old, new - old, new), strict=True):
        for name, case in evaluator.evaluate(vectors, twin.labels).worst_case().items():
            found[name][view] = case["advantage"]
    return {"kept": twin.ndcg(torch.from_numpy(new))[1] / twin.ndcg(twin.users)[1], "attributes": found}


if __name__ == "__main__":
    main()
