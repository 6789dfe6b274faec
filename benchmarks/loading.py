"""Loads interactions from text and from shards: seconds and the most memory until batches can be drawn.

    python -m benchmarks.loading --folder DIR

Writes a synthetic dataset as shards and as text into ``--folder``, and removes both in the end. Each way loads it in a
process of its own, as a run of BPR does: dataset, last items of each user by time, samplers, loaders; then it draws a
hundred batches. Prints a JSON line for each step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_NAME = "synthetic"
_MAIN = "from recbole_aia.cli import main; raise SystemExit(main())"
_LOAD = "from benchmarks.loading import load; import sys; load(*sys.argv[1:])"
_LINES = 1 << 20


def main() -> None:
    """Prepares, and loads both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, help="default: one for 50 interactions")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--without_text", action="store_true", help="where the text does not fit into memory")
    parser.add_argument("--folder", type=Path, required=True, help="a new one")
    asked = parser.parse_args()
    n, users = asked.interactions, asked.users or asked.interactions // 50
    sizes = [f"--users={users}", f"--items={asked.items}", f"--interactions={n}"]
    asked.folder.mkdir(parents=True)
    try:
        prepared = [_MAIN, "prepare", "synthetic", *sizes, "--shards", f"--out={asked.folder / 'shards'}"]
        baseline = _peak([_LOAD])
        print(json.dumps({"name": "imports alone", **baseline}), flush=True)
        steps = [("prepare to shards", prepared), ("load shards", [_LOAD, str(asked.folder / "shards")])]
        if not asked.without_text:
            steps.append(("load text", [_LOAD, str(asked.folder / "text")]))
        for name, command in steps:
            if name == "load text":
                _as_text(asked.folder)
            found = _peak(command)
            each = (found["memory_gb"] - baseline["memory_gb"]) * 1e9 / n
            print(json.dumps({"name": name, "interactions": n, **found, "bytes_each": round(each)}), flush=True)
    finally:
        shutil.rmtree(asked.folder)


def load(place: str | None = None) -> None:
    """Loads the dataset in a folder and draws batches; without a folder, imports what that needs."""
    from recbole_aia.config.aia_config import AIAConfig
    from recbole_aia.data import check_dataset, create_dataset, prepare_loaders

    if place is None:
        return
    protocol = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}
    values = {"data_path": place, "eval_args": protocol, "attributes": ["group"]}
    config = AIAConfig("BPR", _NAME, config_dict=values, argv=[])
    dataset = create_dataset(config)
    check_dataset(config, dataset)
    training, *_ = prepare_loaders(config, dataset, scores_users=True)
    for _ in itertools.islice(training, 100):
        pass


def _as_text(folder: Path) -> None:
    """Writes the ``.inter`` file of the shards."""
    made, place = folder / "shards" / _NAME, folder / "text" / _NAME
    place.mkdir(parents=True)
    shutil.copy(made / f"{_NAME}.user", place)
    names = ("user_id", "item_id", "timestamp")
    columns = [np.load(made / f"{_NAME}.shards" / f"{name}.npy", mmap_mode="r") for name in names]
    with (place / f"{_NAME}.inter").open("w", encoding="utf-8") as text:
        text.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for start in range(0, len(columns[0]), _LINES):
            np.savetxt(text, np.stack([column[start : start + _LINES] for column in columns], 1), "%d", "\t")


def _peak(arguments: Sequence[str]) -> dict[str, float]:
    """Seconds and gigabytes of resident memory at most, of Python in a process of its own."""
    start = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", *arguments])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{arguments} has ended with {os.waitstatus_to_exitcode(status)}")
    return {"seconds": round(time.perf_counter() - start, 1), "memory_gb": round(usage.ru_maxrss / 1e6, 2)}


if __name__ == "__main__":
    main()
