"""How the time of defended epochs and the memory grow with the data.

    python -m benchmarks.scale --model BPR --users 8000 --items 4000 --interactions 400000 --batch 2048

prints the time and memory of one size. ``python -m benchmarks scale`` does so for three sizes, two models and two
defenses. With ``--epochs`` the command trains and evaluates from start to end. ``python -m benchmarks lastfm`` does so
at Last.fm-360K's size. Each size runs in a process of its own, which gives its peak memory.
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

from benchmarks import calibrated
from benchmarks.measure import on_gpu
from benchmarks.raid import Epochs
from benchmarks.setting import VALUES, Shape, apart, config, prepared
from recbole_aia.data import create_dataset
from recbole_aia.trainer import train

MODELS = ("BPR", "LightGCN")
FACTORS = (1, 4, 16)
DEFENSES = ("raid", "calibrated")
KEYS = ("defended_epoch_s", "undefended_epoch_s", "peak_mib")
# The first size of the full run; users, interactions and batch grow by FACTORS.
USERS, ITEMS, PER_USER, BATCH = 8000, 4000, 50, 2048
LASTFM, LASTFM_BATCH, LASTFM_EPOCHS = Shape(130_046, 11_835, 6_450_050), 65_536, 5


def scale(quick: bool) -> dict[str, Any]:
    """Times epochs under each defense at 1, 4 and 16 times 8,000 users (1 and 16 times 500 if quick).

    The batch grows with the data. With a constant batch, both the number of steps in an epoch and the cost of a step
    (Adam, propagation) would grow, because these models update all users at each step. ``raid BPR x4, constant batch``
    shows this. Above 10,000 users RAID's ascent is stochastic and its coupling semi-dual; in the full run, all sizes
    but the first are above.
    """
    users, factors = (500, (1, 16)) if quick else (USERS, FACTORS)
    kinds = [f"{defense} {model}" for defense in DEFENSES for model in MODELS]
    rows = {}
    for factor in factors:
        size = Shape(users * factor, ITEMS, users * factor * PER_USER)
        with prepared(size):
            for kind in kinds:
                rows[f"{kind} x{factor}"] = _in_a_process(*kind.split(), size, BATCH * factor, repeats=3)
            if factor == FACTORS[1]:
                rows[f"raid BPR x{factor}, constant batch"] = _in_a_process("raid", "BPR", size, BATCH, repeats=3)
    growth = {f"{kind} {key}": _growth(kind, key, rows, factors) for kind in kinds for key in KEYS}
    last = rows[f"raid LightGCN x{factors[-1]}"]
    return {
        "name": "scale",
        "ratio": max(value for kind in kinds for value in growth[f"{kind} defended_epoch_s"]),
        "ratio_is": "growth of a defended epoch's time / growth of the data, the worst, lower is better",
        "ours_s": last["defended_epoch_s"],
        "reference_s": last["undefended_epoch_s"],
        "max_abs_error": None,
        "growth_over_growth_of_data": growth,
        "sizes": rows,
    }


def _growth(kind: str, key: str, rows: dict[str, Any], factors: tuple[int, ...]) -> list[float]:
    """The growth of a value from the first size to each other size, divided by the growth of the data."""
    first = rows[f"{kind} x1"][key]
    return [round(rows[f"{kind} x{factor}"][key] / first / factor, 3) for factor in factors[1:]]


def lastfm(quick: bool) -> dict[str, Any]:
    """Times RAID from start to end on a dataset of Last.fm-360K's size: four epochs without its loss, one with it."""
    shape, batch = (Shape(8000, 2000, 400_000), 4096) if quick else (LASTFM, LASTFM_BATCH)
    with prepared(shape):
        rows = {model: _in_a_process("raid", model, shape, batch, epochs=LASTFM_EPOCHS) for model in MODELS}
    return {
        "name": "lastfm",
        "ratio": max(row["peak_gib"] for row in rows.values()) / 16,
        "ratio_is": "peak memory / 16 GiB, lower is better",
        "ours_s": 60 * max(row["minutes"]["all"] for row in rows.values()),
        "reference_s": None,
        "max_abs_error": None,
        "models": rows,
    }


def from_start_to_end(model: str, shape: Shape, batch: int, epochs: int) -> dict[str, Any]:
    """Minutes of loading, training and evaluating, and the peak memory of the process."""
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
        **on_gpu(),
        "test_result": trained.test_result,
    }


def one_size(defense: str, model: str, shape: Shape, batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of an epoch without and with a defense, and the peak memory of the process."""
    before = _peak_mib()
    measured = {"raid": _raid, "calibrated": _calibrated}[defense]
    times = measured(model, shape, batch, repeats)
    size = {"defense": defense, "model": model, **asdict(shape), "batch": batch}
    return {**size, **times, "peak_mib": round(_peak_mib() - before), **on_gpu()}


def _raid(model: str, shape: Shape, batch: int, repeats: int) -> dict[str, float]:
    before = _peak_mib()
    epochs = Epochs(model, shape, steps=20, train_batch_size=batch)
    loaded = _peak_mib()
    times = epochs.measure(repeats)
    return {
        "defended_epoch_s": times["phase2_s"],
        "undefended_epoch_s": times["phase1_s"],
        "refresh_s": times["refresh_s"],
        "first_refresh_s": times["first_refresh_s"],
        "peak_mib_before_training": round(loaded - before),
    }


def _calibrated(model: str, shape: Shape, batch: int, repeats: int) -> dict[str, float]:
    times = calibrated.epochs(model, shape, repeats, steps=20, train_batch_size=batch)
    names = {
        "defended_epoch_s": "defended_s",
        "undefended_epoch_s": "undefended_s",
        "last_alignment_s": "last_alignment_s",
    }
    return {key: times[name] for key, name in names.items()}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(defense: str, model: str, shape: Shape, batch: int, **extent: int) -> dict[str, Any]:
    values = {"defense": defense, "model": model, **asdict(shape), "batch": batch, **extent, "device": VALUES["device"]}
    words = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "benchmarks.scale", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measures one size and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defense", choices=DEFENSES, default="raid")
    parser.add_argument("--model", choices=MODELS, required=True)
    for name in ("users", "items", "interactions", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="train from start to end instead of measuring epochs")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    VALUES["device"] = arguments.device
    size = arguments.model, Shape(arguments.users, arguments.items, arguments.interactions), arguments.batch
    with apart():
        if arguments.epochs and arguments.defense != "raid":
            parser.error("--epochs is measured with raid")
        if arguments.epochs:
            row = from_start_to_end(*size, arguments.epochs)
        else:
            row = one_size(arguments.defense, *size, arguments.repeats)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
