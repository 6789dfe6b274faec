"""Times the preparation of a dataset, on generated files in Last.fm-360K's format.

    python -m benchmarks.prepare --lines 5000000

prints the time and memory of one preparation. ``python -m benchmarks prepare`` compares it with a plain way: pandas'
reader and writer, without checks, filters or an account.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_aia.data.converters import CONVERTERS, prepare

LINES, QUICK_LINES = 5_000_000, 200_000
PLAYS, PROFILES = "usersha1-artmbid-artname-plays.tsv", "usersha1-profile.tsv"
_PER_USER = 50  # artists of a user on average, as in Last.fm-360K


def prepare_lines(quick: bool) -> dict[str, Any]:
    """Lines per second and peak memory of ``recbole-aia prepare lastfm-360k``."""
    lines = QUICK_LINES if quick else LINES
    with tempfile.TemporaryDirectory(prefix="recbole-aia-") as place:
        generate(Path(place), lines)
        ours, plain = (_in_a_process(place, way) for way in ("ours", "plain"))
    return {
        "name": "prepare",
        "ratio": round(plain["seconds"] / ours["seconds"], 3),
        "ratio_is": "time of pandas' reader and writer alone / ours, higher is better",
        "ours_s": ours["seconds"],
        "reference_s": plain["seconds"],
        "max_abs_error": None,
        "lines": ours["lines"],
        "lines_per_s": round(ours["lines"] / ours["seconds"]),
        "lines_per_cpu_s": round(ours["lines"] / ours["cpu_seconds"]),
        "peak_gib": ours["peak_gib"],
        "reference_peak_gib": plain["peak_gib"],
        "kept": ours["kept"],
    }


def generate(folder: Path, lines: int) -> None:
    """Writes both tables of Last.fm-360K with about ``lines`` plays; equal arguments give equal files."""
    rng = random.Random(0)
    artists = [_artist(k) for k in range(max(lines // 60, 200))]
    with (folder / PLAYS).open("w", encoding="utf-8") as plays, (folder / PROFILES).open("w") as profiles:
        for k in range(lines // _PER_USER):
            user = hashlib.sha1(str(k).encode()).hexdigest()
            gender, age = rng.choice("mmmmmffff") if k % 10 else "", rng.randrange(15, 60) if k % 5 else ""
            profiles.write(f"{user}\t{gender}\t{age}\tGermany\tFeb 1, 2007\n")
            # A twentieth of the artists has four fifths of the plays. Otherwise the 45-core would be empty.
            wanted = rng.randrange(1, 2 * _PER_USER)
            reach = (len(artists) if rng.random() < 0.2 else len(artists) // 20 for _ in range(2 * wanted))
            chosen = {int(rng.random() * most): None for most in reach}
            plays.writelines(f"{user}\t{artists[a]}\t{rng.randrange(1, 3000)}\n" for a in list(chosen)[:wanted])


def _artist(k: int) -> str:
    """An artist's MusicBrainz id, missing for one in thirty, and name; some names have quotes or other scripts."""
    code = hashlib.md5(str(k).encode()).hexdigest()
    mbid = "" if k % 30 == 0 else f"{code[:8]}-{code[8:12]}-{code[12:16]}-{code[16:20]}-{code[20:]}"
    name = ("the plain band", 'the "quoted" band', "sigur rós", "東京事変")[k % 4]
    return f"{mbid}\t{name} {k}"


def one_way(folder: Path, way: str) -> dict[str, Any]:
    """Seconds of one preparation, ours or the plain one, and the peak memory of the process."""
    start, cpu = time.perf_counter(), time.process_time()
    kept: dict[str, int] = {}
    if way == "ours":
        summary = prepare(CONVERTERS["lastfm-360k"], folder, folder / "out")
        lines, kept = summary.files[PLAYS]["rows"], summary.kept
    else:
        frame = pd.read_csv(folder / PLAYS, sep="\t", header=None, quoting=3, keep_default_na=False)
        frame[[0, 1, 3]].to_csv(folder / "plain.inter", sep="\t", index=False)
        lines = len(frame)
    return {
        "lines": lines,
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "kept": kept,
    }


def _in_a_process(folder: str, way: str) -> dict[str, Any]:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "benchmarks.prepare", "--folder", folder, "--way", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measures one way, on an existing folder or on generated lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=QUICK_LINES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--way", choices=("ours", "plain"), default="ours")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recbole-aia-") as place:
        if arguments.folder is None:
            generate(Path(place), arguments.lines)
        print(json.dumps(one_way(arguments.folder or Path(place), arguments.way)))


if __name__ == "__main__":
    main()
