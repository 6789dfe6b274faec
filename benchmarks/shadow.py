"""What attackers gain who know the defense and have defended users of their own in the same way.

    python -m benchmarks.shadow --model BPR

Trains or reuses the undefended twin, and defends it: with ``calibrated``, in training or after it, as a run does; with
``means``, which gives all classes exactly the same mean, and which a defense should not do; or with ``nothing``. The
attackers' own (shadow) users take their undefended vectors from the twin itself. No recommender that an attacker could
train has users nearer to the released ones.

Prints one JSON line for each attribute, attacker and source of its knowledge, and one for each worst case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_aia import AIAConfig, protect
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.evaluator.shadow import ATTACKERS, Protect, shadow_attack
from recbole_aia.trainer import train, undefended_twin

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


def calibrated(embeddings: FloatArray, labels: IntArray) -> FloatArray:
    """Aligns users ``[n, d]`` by their own labels ``[n, A]``, as ``calibrated_labels: own`` does."""
    return protect(embeddings, {str(a): column for a, column in enumerate(labels.T)}, calibrated_labels="own")


def means(embeddings: FloatArray, labels: IntArray) -> FloatArray:
    """Moves the classes of each attribute to exactly the same mean, in 50 rounds over the attributes.

    This leaks: a random part of a class does not have exactly that mean, so the part that an attacker knows tells on
    which side the rest is.
    """
    moved, center = np.array(embeddings, dtype=np.float64), embeddings.mean(axis=0)
    for _ in range(50):
        for column in labels.T:
            for k in np.unique(column[column >= 0]):
                moved[column == k] += center - moved[column == k].mean(axis=0)
    return moved


def nothing(embeddings: FloatArray, labels: IntArray) -> FloatArray:
    """No defense."""
    return embeddings


PROCEDURES: dict[str, Protect] = {"calibrated": calibrated, "means": means, "nothing": nothing}


def vectors(config: AIAConfig, data: Any, defense: str, labels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Undefended and defended vectors of all users, ``[n, d]`` each."""
    twin, start = undefended_twin(config, data)
    before = twin.served.double().numpy()
    if defense != "calibrated":
        return before, PROCEDURES[defense](before, labels)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(config, data, Path(folder) / "defended.pth", start=start if config["stage"] == "post" else None)
    return before, trained.served.double().numpy()


def main() -> None:
    """Prints what each attacker gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="BPR")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", nargs="+", default=["gender", "age"])
    parser.add_argument("--defense", choices=PROCEDURES, default="calibrated")
    parser.add_argument("--stage", choices=("in", "post"), default="post")
    parser.add_argument("--attackers", nargs="+", default=list(ATTACKERS))
    parser.add_argument("--repeats", type=int, default=2, help="random halvings into shadow users and target users")
    parser.add_argument("--seed", type=int, default=2020)
    arguments = parser.parse_args()
    asked = {"defense": "calibrated", "stage": arguments.stage, "attributes": arguments.attributes}
    quiet = {"seed": arguments.seed, "show_progress": False, "state": "warning"}
    config = AIAConfig(arguments.model, arguments.dataset, config_dict={**asked, **quiet}, argv=[])
    data = create_dataset(config)
    labels = load_labels(config, data).columns()
    before, after = vectors(config, data, arguments.defense, np.stack([*labels.values()], axis=1))
    report = shadow_attack(
        before,
        after,
        labels,
        PROCEDURES[arguments.defense],
        attackers=arguments.attackers,
        repeats=arguments.repeats,
        seed=arguments.seed,
    )
    run = {key: getattr(arguments, key) for key in ("model", "dataset", "defense", "stage", "seed", "repeats")}
    for row in report.rows:
        print(json.dumps({**run, **row}))
    for name, case in report.worst_case.items():
        print(json.dumps({**run, "worst_case": name, **case}))


if __name__ == "__main__":
    main()
