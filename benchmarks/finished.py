"""What ``protect`` leaves to attackers and costs in quality, for the users of a finished model.

    python -m benchmarks.finished --models BPR NeuMF LightGCN

Trains the undefended twin or finds it in ``saved/``. Protects its users with :func:`recbole_aia.protect`, which takes
about two seconds by default, or ``--max_steps``. Then attacks the protected users and evaluates the model with them.
Prints one JSON line for each run, and a table with each attribute's worst case and its attacker, and with NDCG@10 on
test items.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product

import torch

from benchmarks.trained import Twin
from recbole_aia import AttributeInferenceEvaluator, protect

_ATTACKERS = ["logistic", "random_forest", "xgboost", "mlp"]


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["LightGCN"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", nargs="+", default=["gender,age"], help="protected together, by commas")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("--max_steps", type=int)
    parser.add_argument("--calibrated_labels", choices=("posterior", "own"), default="posterior")
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    runs = list(product(arguments.models, arguments.attributes, arguments.seeds))
    lines = [line(*run, arguments) for run in runs]
    print("| model | protected | seed | worst case | NDCG@10 |\n| --- | --- | --- | --- | --- |")
    print("\n".join(lines))


def line(model: str, attributes: str, seed: int, arguments: argparse.Namespace) -> str:
    """Protects, attacks and evaluates the users of one model; returns a line of the table."""
    twin = Twin(model, arguments.dataset, attributes, seed, arguments.rest)
    way, started = arguments.calibrated_labels, time.perf_counter()
    users = torch.from_numpy(
        protect(
            twin.users.numpy(),
            twin.labels,
            calibrated_labels=way,
            activity=twin.activity,
            max_steps=arguments.max_steps,
        )
    )
    taken = time.perf_counter() - started
    before, after = twin.ndcg(twin.users)[1], twin.ndcg(users)[1]
    evaluator = AttributeInferenceEvaluator(attackers=_ATTACKERS, attack_repeats=1, show_progress=False)
    worst = evaluator.evaluate(users, twin.labels).worst_case()
    run = {"model": model, "attributes": attributes, "seed": seed, "worst": worst}
    print(json.dumps({**run, "ndcg": [before, after], "seconds": round(taken, 2)}), flush=True)
    cases = ", ".join(f"{name} {case['advantage']:.3f} ({case['attacker']})" for name, case in worst.items())
    return f"| {model} | {attributes} | {seed} | {cases} | {before:.4f} → {after:.4f} ({after / before:.3f}) |"


if __name__ == "__main__":
    main()
