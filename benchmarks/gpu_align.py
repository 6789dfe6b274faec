"""Times alignment, ``protect`` and the strict attackers on a GPU, beside the same work on the same machine's CPU.

``python -m benchmarks.gpu_align [PART ...] [--device cuda] [--quick]`` prints a JSON line for each measurement. Users
are generated. Timings wait for the device before and after. ``--device cpu`` shows that everything runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.attacks import planted
from benchmarks.attrcloak import population
from benchmarks.measure import seconds
from recbole_aia import protect
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.losses import ClassDiscrepancy, align_vectors, cross_fitted_posterior, learn_map

SHORT, LONG = 10, 50  # steps of the two descents whose difference is the time of a step
FEW = 4  # steps that are compared between devices; a difference in the last digits grows with every step


def waiting(task: Callable[[], Any], device: str) -> float:
    """Seconds of a task until the device is done with it."""

    def whole() -> None:
        task()
        if device != "cpu":
            torch.cuda.synchronize()

    if device != "cpu":
        torch.cuda.synchronize()
    return seconds(whole)


def users(count: int) -> tuple[Tensor, Tensor]:
    """Embeddings ``[count, 64]`` and labels of two attributes, of 2 and 7 classes."""
    embeddings, labels = population(count, 64)
    return embeddings, labels[:, :2]


def step(count: int, device: str, repeats: int) -> dict[str, Any]:
    """A step of alignment by own labels, every pair of users compared; and a whole descent, with its preparation.

    ``error`` is how far the users of this device end from where the CPU's end, as a share of how far they went.
    """
    embeddings, labels = users(count)
    here, known = embeddings.to(device), labels.to(device)

    def descent(steps: int) -> Tensor:
        return align_vectors(here, ClassDiscrepancy(here, known), steps, judged=False)[0]

    descent(SHORT)
    short, long = (median(waiting(lambda n=n: descent(n), device) for _ in range(repeats)) for n in (SHORT, LONG))  # type: ignore[misc]
    found: dict[str, Any] = {"step_ms": 1e3 * (long - short) / (LONG - SHORT), "descent_s": long}
    if device != "cpu":
        on_cpu = align_vectors(embeddings, ClassDiscrepancy(embeddings, labels), FEW, judged=False)[0]
        found["error"] = float((descent(FEW).cpu() - on_cpu).norm() / (on_cpu - embeddings).norm())
    return found


def mapped(count: int, device: str, repeats: int) -> dict[str, Any]:
    """The alignment that a training ends with by default: posteriors and a map, learned and applied."""
    embeddings, labels = users(count)
    here, known = embeddings.to(device), labels.to(device)

    def learn() -> Any:
        return learn_map(here, [cross_fitted_posterior(here, column) for column in known.t()], known)

    outcome = learn()[1]
    taken = median(waiting(learn, device) for _ in range(repeats))
    return {"seconds": taken, "steps": outcome.steps, "before": outcome.before, "after": outcome.after}


def protected(count: int, device: str, repeats: int) -> dict[str, Any]:
    """:func:`recbole_aia.protect` of users with two attributes."""
    embeddings, labels = users(count)
    points, known = embeddings.numpy(), {"a": labels[:, 0].numpy(), "b": labels[:, 1].numpy()}
    protect(points[:5000], {name: column[:5000] for name, column in known.items()}, device=device)
    return {"seconds": median(waiting(lambda: protect(points, known, device=device), device) for _ in range(repeats))}


def attacked(count: int, device: str) -> dict[str, Any]:
    """The strict suite, one repeat: wall-clock seconds, and by attacker the seconds summed over folds and the AUC."""
    points, labels = planted(count, 64)
    evaluator = AttributeInferenceEvaluator(protocol="strict", attack_repeats=1, device=device, show_progress=False)
    reports: list[Any] = []
    taken = waiting(lambda: reports.append(evaluator.evaluate(points, labels)), device)
    rows = reports[0].rows
    by_attacker: dict[str, float] = dict.fromkeys((row["attacker"] for row in rows), 0.0)
    for row in rows:
        by_attacker[row["attacker"]] += row["seconds"]
    aucs = {f"{row['attribute']} {row['attacker']}": round(row["metrics"]["auc"]["mean"], 4) for row in rows}
    return {"seconds": taken, "attackers_s": {k: round(v, 2) for k, v in by_attacker.items()}, "auc": aucs}


def main_job(device: str) -> dict[str, Any]:
    """The README's main job, each time in a new process: from nothing, and again with the undefended model kept."""
    script = Path(__file__).parent.parent / "run_recbole_aia.py"
    keys = ["--model=LightGCN", "--dataset=ml-100k", "--defense=calibrated", "--attributes=[gender,age]"]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for when in ("cold", "again"):
            out = Path(folder) / when
            command = [sys.executable, str(script), *keys, "--attack_views=served", f"--device={device}"]
            command += [f"--output_dir={out}", "--show_progress=False"]
            found[f"{when}_s"] = seconds(
                lambda c=command: subprocess.run(c, cwd=folder, check=True, capture_output=True)
            )  # type: ignore[misc]
            phases = json.loads((out / "results.json").read_text())["run"]["seconds"]
            found[when] = {name: round(value, 2) for name, value in phases.items()}
    return found


def measurements(
    parts: list[str], devices: list[str], quick: bool
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The measurements by name, device by device; those of a CPU are made once, because they take long."""
    few, many, crowd = (200, 400, 3000) if quick else (943, 6040, 1_000_000)
    for device in devices:
        repeats = 1 if device == "cpu" else 3
        tasks: dict[str, Callable[[str, int], dict[str, Any]]] = {
            f"step {few}": lambda device, repeats: step(few, device, repeats),
            f"step {many}": lambda device, repeats: step(many, device, repeats),
            f"map {few}": lambda device, repeats: mapped(few, device, repeats),
            f"map {many}": lambda device, repeats: mapped(many, device, repeats),
            f"protect {crowd}": lambda device, repeats: protected(crowd, device, repeats),
            f"attack {many}": lambda device, repeats: attacked(many, device),
            "job": lambda device, repeats: main_job(device),
        }
        for name, task in tasks.items():
            if name.split()[0] in parts:
                yield f"{name} {device}", lambda task=task, device=device, repeats=repeats: task(device, repeats)  # type: ignore[misc]


def main() -> None:
    """Prints a line of JSON for each measurement; one that fails does not stop the next."""
    kinds = ["step", "map", "protect", "attack", "job"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_align", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(kinds)}; all of them where none is named")
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:<number>")
    parser.add_argument("--alone", action="store_true", help="without the CPU beside it")
    parser.add_argument("--quick", action="store_true", help="few users")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    np.seterr(all="ignore")
    devices = [arguments.device] if arguments.alone else list(dict.fromkeys([arguments.device, "cpu"]))
    for name, task in measurements(arguments.parts or kinds, devices, arguments.quick):
        try:
            found = task()
            rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}
            print(json.dumps({"name": name, **rounded}), flush=True)
        except Exception:
            print(f"{name} FAILED", *traceback.format_exc().splitlines()[-15:], sep="\n", flush=True)


if __name__ == "__main__":
    main()
