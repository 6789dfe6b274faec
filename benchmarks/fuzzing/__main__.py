"""Fuzzes parsers: ``python -m benchmarks.fuzzing all --seconds 600``, or the name of one of them.

With Atheris (``pip install atheris``) coverage leads the mutations; ``--random`` or no Atheris takes random ones. Files
that reveal a fault are kept, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.mutation import in_member, mutated

atheris: Any = None
if "--random" not in sys.argv:
    try:
        import atheris
    except ImportError:
        print("Atheris is not installed: mutations are random, and no coverage leads them.", file=sys.stderr)
# Atheris sees the coverage of what is imported here.
with atheris.instrument_imports(include=["recbole_aia", "yaml"]) if atheris else nullcontext():
    from benchmarks.fuzzing.targets import TARGETS, FindingError, run


def main() -> int:
    """Fuzzes, and prints a line of JSON for each target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzzing", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="without Atheris")
    parser.add_argument("--keep", type=Path, default=Path("fuzzing"), help="where files go that reveal a fault")
    arguments = parser.parse_args()
    names = list(TARGETS) if arguments.target == "all" else [arguments.target]
    faults = 0
    for name in names:
        hunt = Hunt(name, arguments.keep, arguments.seconds / len(names))
        hunt.at_random(arguments.seed) if atheris is None else hunt.by_coverage(arguments.seed)
        faults += hunt.report("random" if atheris is None else "atheris")
    return bool(faults)


class Hunt:
    """Looks for faults of one target, and counts.

    Args:
        name: of the target.
        keep: the folder for files that reveal a fault, one for each kind of fault.
        seconds: how long.
    """

    def __init__(self, name: str, keep: Path, seconds: float) -> None:
        self.name, self.keep, self.target = name, keep.resolve(), TARGETS[name]
        self.executions = self.accepted = 0
        self.faults: dict[str, str] = {}
        self.seeds = self.target.seeds()
        self.end = time.monotonic() + seconds
        for content in self.seeds:
            self.attempt(content)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.end

    def attempt(self, content: bytes) -> None:
        """Lets the parser read a file, and keeps the file if it reveals a new fault."""
        self.executions += 1
        try:
            self.accepted += run(self.target, content)
        except FindingError as finding:
            kind = _kind(finding)
            if kind not in self.faults:
                self.keep.mkdir(parents=True, exist_ok=True)
                file = self.keep / f"{self.name}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
                file.write_bytes(content)
                self.faults[kind] = f"{file}: {' '.join(str(finding).split())[:200]}"

    def at_random(self, seed: int) -> None:
        """Changes the corpus at random. Files that are accepted join it."""
        rng, pool = random.Random(seed), list(self.seeds)
        while not self.over:
            before, content = self.accepted, mutated(rng.choice(pool), rng)
            self.attempt(content)
            if self.accepted > before and len(pool) < 500:
                pool.append(content)

    def by_coverage(self, seed: int) -> None:
        """Lets Atheris choose the changes by what code they reach."""

        def change(content: bytes, longest: int, seed: int) -> bytes:
            rng = random.Random(seed)
            if rng.random() < 0.5:
                return mutated(content, rng)[:longest]
            return in_member(content, rng, lambda part, _: atheris.Mutate(part or b"0", len(part) + 64))[:longest]

        with tempfile.TemporaryDirectory() as corpus:
            for number, content in enumerate(self.seeds):
                (Path(corpus) / str(number)).write_bytes(content)
            left = max(1, int(self.end - time.monotonic()))
            options = [f"-max_total_time={left}", f"-seed={seed + 1}", "-max_len=65536", "-rss_limit_mb=8192"]
            # libFuzzer ends the process; a child does it here, and its counts come back through a pipe.
            read, write = os.pipe()
            child = os.fork()
            if not child:
                atheris.Setup(
                    ["fuzz", corpus, *options, "-verbosity=0", "-print_final_stats=0"],
                    lambda content: self._one(content, write),
                    custom_mutator=change,
                )
                atheris.Fuzz()
                os._exit(0)
            os.close(write)
            with os.fdopen(read) as lines:
                for line in lines:
                    self.executions, self.accepted, self.faults = json.loads(line)
            _, status = os.waitpid(child, 0)
            if status:
                self.faults["died"] = f"the process ended with status {status}"

    def _one(self, content: bytes, pipe: int) -> None:
        self.attempt(content)
        if self.executions % 20 == 0 or self.over:
            os.write(pipe, (json.dumps([self.executions, self.accepted, self.faults]) + "\n").encode())

    def report(self, engine: str) -> int:
        """Prints what was found; returns the number of faults."""
        counts = {"executions": self.executions, "accepted": self.accepted, "faults": len(self.faults)}
        print(json.dumps({"target": self.name, "engine": engine, **counts}), flush=True)
        for said in self.faults.values():
            print(f"  {said}", flush=True)
        return len(self.faults)


def _kind(finding: FindingError) -> str:
    """What tells faults apart: the error, and where in our code it came from."""
    error = finding.__cause__
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    ours = [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames if "recbole_aia" in frame.filename
    ]
    return f"{type(error).__name__} {ours[-1] if ours else ''} {frames[-1].name if frames else ''}"


if __name__ == "__main__":
    raise SystemExit(main())
