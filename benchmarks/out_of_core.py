"""Protects and audits matrices that are larger than memory: seconds, those of processors, and the most memory.

    python -m benchmarks.out_of_core --users 1000000 10000000 100000000 --folder DIR

Writes a matrix of ``--dimensions`` single-precision numbers a user and a file of labels into ``--folder`` for each
number of users, runs ``recbole-aia protect`` and ``recbole-aia audit`` on them in processes of their own, prints a JSON
line for each, and removes the files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_PART = 1 << 20
_RUN = "from recbole_aia.cli import main; raise SystemExit(main())"
_ATTACK = ("--attackers=[logistic,svm,xgboost]", "--attack_repeats=1", "--show_progress=False")


def main() -> None:
    """Runs both commands at each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", nargs="+", type=int, default=[1_000_000, 10_000_000])
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--folder", type=Path, required=True, help="must have room for twice the largest matrix")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for n_users in arguments.users:
        vectors, labels, out = (arguments.folder / name for name in ("users.npy", "labels.csv", "safe.npy"))
        _write(vectors, labels, n_users, arguments.dimensions)
        size = {"users": n_users, "dimensions": arguments.dimensions, "gigabytes": vectors.stat().st_size / 1e9}
        asked = [f"--labels={labels}", "--attributes=[gender]"]
        for name, command in (
            ("protect", ["protect", str(vectors), *asked, f"--out={out}"]),
            ("audit", _audit(vectors, asked, arguments.folder / "before")),
            ("audit of protected", _audit(out, asked, arguments.folder / "after")),
        ):
            print(json.dumps({"name": name, **size, **_timed(command)}), flush=True)
        for part in ("before", "after"):
            found = json.loads((arguments.folder / part / "results.json").read_text(encoding="utf-8"))
            print(json.dumps({"name": f"worst case {part}", **size, **found["worst_case"]["gender"]["undefended"]}))
        for file in (vectors, labels, out):
            file.unlink()


def _audit(vectors: Path, asked: Sequence[str], folder: Path) -> list[str]:
    return ["audit", f"--embeddings={vectors}", *asked, *_ATTACK, f"--output_dir={folder}"]


def _write(vectors: Path, labels: Path, n_users: int, dimensions: int) -> None:
    """Users of two classes whose means and variances differ; a third of them have no label."""
    rng = np.random.default_rng(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_users, dimensions)}
    with vectors.open("wb") as file, labels.open("w", encoding="utf-8") as text:
        np.lib.format.write_array_header_1_0(file, header)
        text.write("gender\n")
        for first in range(0, n_users, _PART):
            count = min(_PART, n_users - first)
            gender, unknown = rng.integers(0, 2, count), rng.random(count) < 1 / 3
            part = rng.standard_normal((count, dimensions), dtype=np.float32)
            part[:, :8] += 0.3 * gender[:, None]
            part[:, 8:16] *= 1 + 0.2 * gender[:, None]
            file.write(part.data)
            names = np.where(unknown, "", np.array(["F", "M"])[gender])
            text.write("".join(f"{name}\n" if name else '""\n' for name in names))


def _timed(command: Sequence[str]) -> dict[str, float]:
    """Seconds, those of processors, and gigabytes of resident memory at most, of a command in a process of its own."""
    start = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", _RUN, *command])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"recbole-aia {' '.join(command)} has ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_gb": round(usage.ru_maxrss / 1e6, 2),
    }


if __name__ == "__main__":
    main()
