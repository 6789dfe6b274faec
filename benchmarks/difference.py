"""What the difference between old and new vectors gives away: an attacker who has both, for every user.

    python -m benchmarks.difference --model BPR --stage in

Trains the undefended twin, or takes the one that is there. Defends it with ``calibrated``, in training or after it, or
as arrays with ``protect``. Attacks the difference between the two vectors of each user, and prints a JSON line for each
attribute and attacker. A defense that moves users by their own labels cannot hide the labels from such an attacker.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from benchmarks.shadow import calibrated, vectors
from recbole_aia import AIAConfig, AttributeInferenceEvaluator
from recbole_aia.data import create_dataset, load_labels


def main() -> None:
    """Prints what each attacker reads from the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="BPR")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", nargs="+", default=["gender", "age"])
    parser.add_argument("--stage", choices=("in", "post", "protect"), default="in")
    parser.add_argument("--attackers", nargs="+", default=["logistic", "random_forest", "mlp"])
    parser.add_argument("--seed", type=int, default=2020)
    arguments, settings = parser.parse_known_args()
    stage = "post" if arguments.stage == "protect" else arguments.stage
    asked = {"defense": "calibrated", "stage": stage, "attributes": arguments.attributes}
    quiet = {"seed": arguments.seed, "show_progress": False, "state": "warning"}
    config = AIAConfig(arguments.model, arguments.dataset, config_dict={**asked, **quiet}, argv=settings)
    data = create_dataset(config)
    labels = load_labels(config, data).columns()
    columns = np.stack([*labels.values()], axis=1)
    before, after = vectors(config, data, "calibrated" if arguments.stage != "protect" else "nothing", columns)
    if arguments.stage == "protect":
        after = calibrated(before, columns)
    evaluator = AttributeInferenceEvaluator(attackers=arguments.attackers, attack_repeats=1, show_progress=False)
    for row in evaluator.evaluate(after - before, labels).rows:
        found = {key: round(row["metrics"][key]["mean"], 3) for key in ("auc", "advantage")}
        print(json.dumps({**vars(arguments), "attackers": row["attacker"], "attributes": row["attribute"], **found}))


if __name__ == "__main__":
    main()
