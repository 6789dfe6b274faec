"""What few labels cost: how well everybody is protected where a defense knows the labels of some users only.

    python -m benchmarks.known --models LightGCN --shares 0.05 0.1 0.3 0.7 1

Trains the undefended twin or finds it in ``saved/``. Of each share of users, who are drawn, labels are known. From
these alone :func:`recbole_aia.learn_protection` learns a map, and it moves everybody. Attackers know all labels. They
learn from all users, and are judged among the known and the unknown apart (``known``, ``unknown``); or they learn from
the known alone, and are judged among the unknown (``told``), who could be read in reverse. ``beyond old`` is what
attackers with the old vectors too learn of the known, less what the old vectors tell.

Prints one JSON line for each run. The table has advantages of the strongest attacker, the smallest AUC of ``told``, and
the NDCG@10 kept on test items: means over seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from benchmarks.trained import Twin
from recbole_aia import AttributeInferenceEvaluator, learn_protection
from recbole_aia.config.types import BoolArray, FloatArray, IntArray
from recbole_aia.evaluator import informed_attack, registered_attackers
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc

_ATTACKERS = ["logistic", "svm", "random_forest", "quadratic", "mlp"]
_QUICK = ["logistic_tuned", "svm"]  # the attackers of the informed check of a run
_FEWEST = 100  # known users whose old and new vectors can be attacked with a floor that says something
_COLUMNS = ("known", "unknown", "told", "told AUC at least", "beyond old", "its floor")


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a file of JSON lines; what is in it is not run again")
    parser.add_argument("--models", nargs="+", default=["LightGCN"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender,age", help="protected together, by commas")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.05, 0.1, 0.3, 0.7, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    rows = _read(arguments.out)
    for model, seed in product(arguments.models, arguments.seeds):
        missing = [s for s in arguments.shares if not _of(rows, model, arguments.dataset, seed, s)]
        if missing:
            twin = Twin(model, arguments.dataset, arguments.attributes, seed, arguments.rest)
        for share in missing:
            row = {
                "model": model,
                "dataset": arguments.dataset,
                "seed": seed,
                "share": share,
                **_run(twin, seed, share),
            }
            rows.append(row)
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    _print_table([r for r in rows if r["model"] in arguments.models and r["dataset"] == arguments.dataset])


def _run(twin: Twin, seed: int, share: float) -> dict[str, Any]:
    old = twin.users.numpy()
    known = np.zeros(len(old), dtype=bool)
    known[np.random.default_rng(seed).permutation(len(old))[: round(share * len(old))]] = True
    seen = {name: np.where(known, column, -1) for name, column in twin.labels.items()}
    new = learn_protection(old, seen, activity=twin.activity, seed=seed)[0]
    kept = twin.ndcg(torch.from_numpy(new))[1] / twin.ndcg(twin.users)[1]
    found: dict[str, dict[str, float]] = {name: {} for name in twin.labels}
    report = AttributeInferenceEvaluator(attackers=_ATTACKERS, attack_repeats=1, show_progress=False).evaluate(
        new, twin.labels
    )
    for group, users in (("known", known), ("unknown", ~known)):
        for name, case in report.worst_among(users).items() if users.any() else ():
            if case is not None:
                found[name][group] = case["advantage"]
    for name, column in twin.labels.items():
        if not known.all():
            found[name] |= _told(new, column, known, seed)
    if known.sum() >= _FEWEST:
        for name, case in _beyond(new, old, seen).items():
            found[name] |= {"beyond old": case["beyond_old"], "its floor": case["floor"]}
    return {"labels": int(known.sum()), "kept": kept, "attributes": found}


def _told(vectors: FloatArray, column: IntArray, known: BoolArray, seed: int) -> dict[str, float]:
    """The strongest and the most reversed of attackers who learn from the known and answer for the unknown."""
    learn, judge = known & (column >= 0), ~known & (column >= 0)
    aucs = []
    for name in _ATTACKERS:
        attacker = registered_attackers()[name]().fit(vectors[learn], column[learn], seed)
        aucs.append(one_vs_rest_auc(column[judge], attacker.predict_proba(vectors[judge])))
    return {
        "told": max(float(advantage(auc)) for auc in aucs),
        "told AUC at least": min(float(np.mean(auc)) for auc in aucs),
    }


def _beyond(new: FloatArray, old: FloatArray, labels: Mapping[str, IntArray]) -> dict[str, Any]:
    evaluator = AttributeInferenceEvaluator(attackers=_QUICK, attack_repeats=1, show_progress=False)
    found: dict[str, Any] = informed_attack(evaluator, new, labels, earlier=[old], side_by_side=False)["attributes"]
    return found


def _print_table(rows: list[dict[str, Any]]) -> None:
    print(f"| model | labels | attribute | {' | '.join(_COLUMNS)} | NDCG@10 kept |")
    print(f"| {' | '.join(['---'] * (len(_COLUMNS) + 4))} |")
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["share"]), []).append(row)
    for (model, share), group in groups.items():
        kept = f"{mean(row['kept'] for row in group):.3f}"
        for name in group[0]["attributes"]:
            cells = []
            for column in _COLUMNS:
                values = [r["attributes"][name][column] for r in group if column in r["attributes"][name]]
                cells.append(f"{mean(values):.3f}" if values else "")
            labels = f"{group[0]['labels']:,} ({share:.0%})"
            print(f"| {model} | {labels} | {name} | {' | '.join(cells)} | {kept} |")


def _of(rows: list[dict[str, Any]], model: str, dataset: str, seed: int, share: float) -> list[dict[str, Any]]:
    asked = {"model": model, "dataset": dataset, "seed": seed, "share": share}
    return [row for row in rows if all(row[key] == value for key, value in asked.items())]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


if __name__ == "__main__":
    main()
