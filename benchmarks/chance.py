"""The worst case of the strict suite when there is no leak: for permuted labels.

    python -m benchmarks.chance --out chance.jsonl --permutations 5

The users come from an undefended BPR on ml-100k. No vector tells anything about permuted labels. Each permutation
appends one JSON line to ``--out``. At the end the mean of each attribute's worst case is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

import numpy as np

from recbole_aia import AIAConfig, AttributeInferenceEvaluator
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.trainer import undefended_twin


def main() -> None:
    """Attacks each permutation and prints the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--permutations", type=int, default=5)
    parser.add_argument("--attributes", nargs="+", default=["gender", "age"])
    parser.add_argument("rest", nargs="*", help="after --: arguments of the attack")
    arguments = parser.parse_args()
    values = {"attributes": arguments.attributes, "protocol": "strict", "show_progress": False, "state": "warning"}
    config = AIAConfig("BPR", "ml-100k", config_dict=values, argv=arguments.rest)
    data = create_dataset(config)
    users, columns = undefended_twin(config, data)[0].served.numpy(), load_labels(config, data).columns()
    found: dict[str, list[float]] = {name: [] for name in columns}
    for seed in range(arguments.permutations):
        order = np.random.default_rng(seed).permutation(len(users))
        report = AttributeInferenceEvaluator(config).evaluate(users, {n: c[order] for n, c in columns.items()})
        for name, worst in found.items():
            worst.append(max(r["metrics"]["advantage"]["mean"] for r in report.rows if r["attribute"] == name))
        line = {"permutation": seed, **{name: round(worst[-1], 3) for name, worst in found.items()}}
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    print({name: round(mean(worst), 3) for name, worst in found.items()})


if __name__ == "__main__":
    main()
