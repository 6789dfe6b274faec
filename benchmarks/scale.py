"""How RAID's epochs and memory grow with the data; each size in a process of its own, for its memory's sake.

    python -m benchmarks.scale --model BPR --users 8000 --items 4000 --interactions 400000 --batch 2048

prints what one size takes, which ``python -m benchmarks scale`` does for three sizes and two models; with ``--epochs``
it trains and evaluates from start to end, which ``python -m benchmarks lastfm`` does at Last.fm-360K's size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, seconds
from benchmarks.raid import Epochs
from benchmarks.setting import Shape, config
from recbole_aia.data import create_dataset
from recbole_aia.trainer import train

MODELS = ("BPR", "LightGCN")
FACTORS = (1, 4, 16)
USERS, ITEMS, PER_USER, BATCH = 8000, 4000, 50, 2048
LASTFM, LASTFM_BATCH, LASTFM_EPOCHS = Shape(130_046, 11_835, 6_450_050), 65_536, 5


def scale(quick: bool) -> dict[str, Any]:
    """Epochs of RAID at 1, 4 and 16 times 8,000 users (1 and 16 times 500 if quick).

    The batch grows with the data, as its user would have it: with a constant one the steps of an epoch grow
    and every step's cost (Adam, propagation) grows too, in every model that updates all users at each step.
    """
    users, factors = (500, (1, 16)) if quick else (USERS, FACTORS)
    rows = {}
    for model in MODELS:
        for factor in factors:
            size = Shape(users * factor, ITEMS, users * factor * PER_USER)
            rows[f"{model} x{factor}"] = _in_a_process(model, size, BATCH * factor, repeats=1)
    growth = {
        f"{model} {key}": [
            round(rows[f"{model} x{factor}"][key] / rows[f"{model} x1"][key] / factor, 3) for factor in factors[1:]
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


def lastfm(quick: bool) -> dict[str, Any]:
    """RAID from start to end, four epochs without and one with its loss, on a set of Last.fm-360K's size."""
    shape, batch = (Shape(8000, 2000, 400_000), 4096) if quick else (LASTFM, LASTFM_BATCH)
    rows = {model: _in_a_process(model, shape, batch, epochs=LASTFM_EPOCHS) for model in MODELS}
    return {
        "name": "lastfm",
        "ratio": max(row["peak_gib"] for row in rows.values()) / 16,
        "ratio_is": "peak memory / 16 GiB, lower is better",
        "models": rows,
    }


def from_start_to_end(model: str, shape: Shape, batch: int, epochs: int) -> dict[str, Any]:
    """Minutes of loading, training and evaluating, and the most memory that the process had."""
    settings = config(model, shape, defense="raid", train_batch_size=batch, epochs=epochs, eval_step=epochs)
    start = time.perf_counter()
    dataset = create_dataset(settings)
    loaded = time.perf_counter()
    trained = train(settings, dataset, Path(settings["checkpoint_dir"]) / "raid.pth")
    minutes = {"load": loaded - start, "train": trained.seconds, "all": time.perf_counter() - start}
    return {
        "model": model,
        **asdict(shape),
        "batch": batch,
        "epochs": epochs,
        "minutes": {key: round(value / 60, 2) for key, value in minutes.items()},
        "peak_gib": round(_peak_mib() / 1024, 2),
        "test_result": trained.test_result,
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


def _in_a_process(model: str, shape: Shape, batch: int, **extent: int) -> dict[str, Any]:
    values = {"model": model, **asdict(shape), "batch": batch, **extent}
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
    parser.add_argument("--epochs", type=int, help="train from start to end instead of measuring epochs")
    arguments = parser.parse_args()
    size = arguments.model, Shape(arguments.users, arguments.items, arguments.interactions), arguments.batch
    row = from_start_to_end(*size, arguments.epochs) if arguments.epochs else one_size(*size, arguments.repeats)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
