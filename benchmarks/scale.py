"""How RAID's epochs and memory grow with the data; each size in a process of its own, for its memory's sake.

    python -m benchmarks.scale --model BPR --users 8000 --items 4000 --interactions 400000 --batch 2048

prints what one size takes, which ``python -m benchmarks scale`` does for three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, seconds
from benchmarks.raid import Epochs
from benchmarks.setting import Shape

MODELS = ("BPR", "LightGCN")
FACTORS = (1, 4, 16)
USERS, ITEMS, PER_USER, BATCH = 8000, 4000, 50, 2048


def scale(quick: bool) -> dict[str, Any]:
    """Epochs of RAID at 1, 4 and 16 times 8,000 users (a tenth of that if quick).

    The batch grows with the data, as its user would have it: with a constant one the steps of an epoch grow
    and every step's cost (Adam, propagation) grows too, in every model that updates all users at each step.
    """
    users = USERS // 10 if quick else USERS
    rows = {}
    for model in MODELS:
        for factor in FACTORS:
            size = Shape(users * factor, ITEMS, users * factor * PER_USER)
            rows[f"{model} x{factor}"] = _in_a_process(model, size, BATCH * factor, 1 if quick else 3)
    growth = {
        f"{model} {key}": [
            round(rows[f"{model} x{factor}"][key] / rows[f"{model} x1"][key] / factor, 3) for factor in FACTORS[1:]
        ]
        for model in MODELS
        for key in ("raid_epoch_s", "undefended_epoch_s", "peak_mib")
    }
    worst = max(growth[f"{model} raid_epoch_s"][-1] for model in MODELS)
    return {
        "name": "scale",
        "ratio": worst,
        "ratio_is": "growth of a RAID epoch's time / growth of the data, x1 to x16, lower is better",
        "growth_over_growth_of_data": growth,
        "sizes": rows,
    }


def one_size(model: str, shape: Shape, batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of an epoch without and with RAID, and the most memory that the process had."""
    before = _peak_mib()
    epochs = Epochs(model, shape, train_batch_size=batch)
    loaded = _peak_mib()
    epochs.undefended()
    first = seconds(epochs.refreshed)
    raid, undefended = interleaved([epochs.refreshed, epochs.undefended], repeats, warm_up=0)
    return {
        "model": model,
        "users": shape.users,
        "interactions": shape.interactions,
        "batch": batch,
        "raid_epoch_s": round(raid, 3),
        "first_raid_epoch_s": round(first, 3),
        "undefended_epoch_s": round(undefended, 3),
        "peak_mib": round(_peak_mib() - before),
        "peak_mib_before_training": round(loaded - before),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(model: str, shape: Shape, batch: int, repeats: int) -> dict[str, Any]:
    values = {"users": shape.users, "items": shape.items, "interactions": shape.interactions}
    values |= {"model": model, "batch": batch, "repeats": repeats}
    words = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "benchmarks.scale", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measures one size and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    for name in ("users", "items", "interactions", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    shape = Shape(arguments.users, arguments.items, arguments.interactions)
    print(json.dumps(one_size(arguments.model, shape, arguments.batch, arguments.repeats)))


if __name__ == "__main__":
    main()
