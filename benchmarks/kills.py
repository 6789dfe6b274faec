"""Kills commands at random moments, repeats them, and compares the results with those of a command left alone.

    python -m benchmarks.kills --kills 40

kills 40 commands with SIGKILL, 40 with SIGTERM, and lets the disk fill under 40. It prints a table. ``python -m
benchmarks kills`` prints one line of JSON. Every command runs in a process of its own, forked from one that has
imported everything, so that its seconds are its work and not its imports.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KILLS, QUICK_KILLS = 40, 2
WAYS = ("SIGKILL", "SIGTERM", "full disk")
# The exit codes of an interrupted command; SIGTERM ends Python itself where it comes before the command has begun.
_EXITS = {"SIGKILL": (-signal.SIGKILL,), "SIGTERM": (143, -signal.SIGTERM), "full disk": (2,)}
_DATA = ["prepare", "synthetic", "--users", "150", "--items", "80", "--interactions", "3000", "--leak", "3"]
_MORE = ["prepare", "synthetic", "--users", "3000", "--items", "500", "--interactions", "400000"]
_SMALL = ["--dataset=synthetic", "--data_path=dataset", "--train_batch_size=512", "--embedding_size=16"]
_FEW = ["--attack_folds=3", "--attack_jobs=1", "--attack_permutations=20"]
_ATTACK = ["--attackers=[logistic]", "--attack_repeats=4", *_FEW]
_MANY = ["--attackers=[logistic,svm]", "--attack_repeats=8"]
_CALIBRATED = ["--defense=calibrated", "--calibrated_steps=8"]
_QUIET = ["--attack_views=[served,table]", "--show_progress=False", "--use_gpu=False", "--state=warning"]
_RUN = ["run", *_SMALL, *_ATTACK, *_QUIET, "--output_dir=out"]
_UNLEARN = ["unlearn", "--checkpoint", "base/checkpoint.pth", "--attributes=[group]", "--output_dir", "out"]
# What commands import, early or late; torch._dynamo comes with the first step of an optimizer.
_MODULES = (
    "recbole_aia.cli", "recbole_aia.quick_start", "recbole_aia.jobs.audit", "recbole_aia.jobs.unlearn",
    "recbole_aia.data.synthetic", "torch._dynamo", "torch.utils.tensorboard", "sklearn.linear_model", "xgboost",
)  # fmt: skip


@dataclass
class Case:
    """A command, and what it is compared by.

    Attributes:
        name: the name in the table.
        words: the arguments of ``recbole-aia``.
        seconds: how long it takes alone.
        result: what it leaves alone, without times.
    """

    name: str
    words: list[str]
    seconds: float = 0.0
    result: Any = None


@dataclass
class Tally:
    """What became of the commands of one case and one way.

    Attributes:
        stopped: those that were stopped before their end.
        kept: those of them that had kept something to go on with.
        over: those that had ended before they could be stopped.
        equal: those whose results are equal, after a repetition if they were stopped.
        faults: what went wrong.
    """

    stopped: int = 0
    kept: int = 0
    over: int = 0
    equal: int = 0
    faults: list[str] = field(default_factory=list)


def cases() -> list[Case]:
    """The commands: trainings of every kind of state, unlearnings, an audit, and a preparation."""
    return [
        Case("train none", [*_RUN, "--model=BPR", "--epochs=40", "--eval_step=1", "--stopping_step=10"]),
        Case("train raid", [*_RUN, "--model=LightGCN", "--epochs=20", "--defense=raid", "--calibrate=True"]),
        Case("train calibrated", [*_RUN, "--model=NeuMF", "--epochs=8", *_CALIBRATED]),
        Case("train calibrated tower", [*_RUN, "--model=DMF", "--epochs=6", *_CALIBRATED]),
        Case("train u2u", [*_RUN, "--model=BPR", "--epochs=30", "--defense=u2u", "--stage=in"]),
        Case("run attrcloak", [*_RUN, "--model=BPR", "--epochs=6", "--defense=attrcloak", "--calibrate=True"]),
        Case("unlearn attrcloak", [*_UNLEARN, "--defense", "attrcloak", "--unlearn_max_steps=200"]),
        Case("unlearn calibrated", [*_UNLEARN, *_CALIBRATED, "--mode", "data_dependent"]),
        Case(
            "audit", ["audit", "base", "--output_dir", "out", "--attackers=[logistic,svm]", "--attack_repeats=8", *_FEW]
        ),
        Case("prepare", [*_MORE, "--out", "out"]),
    ]


def kills(quick: bool) -> dict[str, Any]:
    """How many of the interrupted commands gave equal results when they were repeated."""
    table = survey(QUICK_KILLS if quick else KILLS, cases()[1::5] if quick else cases())
    faults = [fault for tally in table.values() for fault in tally.faults]
    total = {way: [t for (_, each), t in table.items() if each == way] for way in WAYS}
    return {
        "name": "kills",
        "equal": {way: sum(t.equal for t in tallies) for way, tallies in total.items()},
        "of": {way: sum(t.stopped + t.over for t in tallies) for way, tallies in total.items()},
        "faults": faults,
    }


def survey(
    count: int, chosen: Sequence[Case], seed: int = 0, ways: Sequence[str] = WAYS
) -> dict[tuple[str, str], Tally]:
    """Interrupts ``count`` commands in each way, the cases in turns; returns what became of them by case and way."""
    rng, table = random.Random(seed), {(case.name, way): Tally() for way in ways for case in chosen}
    _import()
    with tempfile.TemporaryDirectory(prefix="recbole-aia-") as place:
        start = Path(place) / "start"
        start.mkdir()
        _must(start, [*_DATA, "--out", "dataset"])
        base = [*_RUN, "--model=BPR", "--epochs=6", "--output_dir=base"]
        _must(start, [word for word in base if word != "--output_dir=out"])
        shutil.rmtree(start / "saved")
        for case in chosen:
            folder = _copy(start, Path(place) / "alone")
            begun = time.perf_counter()
            _must(folder, case.words)
            case.seconds, case.result = time.perf_counter() - begun, outcome(folder)
        for way in ways:
            for number in range(count):
                case = chosen[number % len(chosen)]
                _interrupt(case, way, _copy(start, Path(place) / "case"), rng, table[case.name, way])
                tallies = [tally for (_, each), tally in table.items() if each == way]
                faults = "; ".join(fault for tally in tallies for fault in tally.faults)
                equal = sum(tally.equal for tally in tallies)
                print(f"{way} {number + 1} of {count}: {equal} equal {faults}", file=sys.stderr, flush=True)
    return table


def _interrupt(case: Case, way: str, folder: Path, rng: random.Random, tally: Tally) -> None:
    """Interrupts a command at a random moment, repeats it, and compares."""
    moment = rng.uniform(0, case.seconds)
    # A file of some case has up to a megabyte; a limit on the size of files ends writing as a full disk does.
    limit = int(10 ** rng.uniform(2, 5.5)) if way == "full disk" else None
    code = _run(folder, case.words, None if way == "full disk" else (moment, getattr(signal, way)), limit)
    where = f"{case.name}, {way} {f'at {limit} bytes' if limit else f'after {moment:.2f} s'}"
    if code == 0:
        tally.over += 1
    elif code in _EXITS[way]:
        tally.stopped += 1
        tally.kept += any((folder / "out" / ".progress").glob("*/*"))
    else:
        tally.faults.append(f"{where}: exit {code}: {_said(folder)}")
        tally.stopped += 1
        return
    ours = [line for line in _said(folder).splitlines() if "WARNING" not in line and line.strip()]
    if way != "SIGKILL" and code > 0 and (len(ours) != 1 or not ours[0].startswith("recbole-aia: ")):
        tally.faults.append(f"{where}: not one line: {_said(folder)}")
    again = _run(folder, case.words) if code else 0
    if again:
        tally.faults.append(f"{where}: repeated, exit {again}: {_said(folder)}")
    elif (found := outcome(folder)) != case.result:
        tally.faults.append(f"{where}: {_difference(found, case.result)}")
    elif left := litter(folder):
        tally.faults.append(f"{where}: left {left}")
    else:
        tally.equal += 1


def outcome(folder: Path) -> Any:
    """What a command has left in ``out``: results without times, or the digests of prepared files."""
    results = folder / "out" / "results.json"
    if results.is_file():
        return _without_times(json.loads(results.read_text(encoding="utf-8")))
    files = [file for file in sorted((folder / "out").rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in ("seconds", "when")}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def litter(folder: Path) -> list[str]:
    """What lies aside: hidden files and folders."""
    hidden = (path for path in folder.rglob(".*"))
    return sorted(str(path.relative_to(folder)) for path in hidden)


def _difference(found: Any, wanted: Any, where: str = "") -> str:
    """The first place where two results differ."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        return next(
            (_difference(found[key], wanted[key], f"{where}/{key}") for key in found if found[key] != wanted[key]), ""
        )
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return next((_difference(a, b, f"{where}/{number}") for number, (a, b) in pairs if a != b), "")
    return f"{where}: {str(found)[:80]} and not {str(wanted)[:80]}"


def _import() -> None:
    """Imports what commands import, on one thread, so that processes can be forked from this one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in _MODULES:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


def _copy(start: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)
    return place


def _must(folder: Path, words: Sequence[str]) -> None:
    code = _run(folder, words)
    if code:
        raise RuntimeError(f"{' '.join(words)} ends with {code}: {_said(folder)}")


def _said(folder: Path) -> str:
    return (folder / "said").read_text(encoding="utf-8").strip()


def _run(
    folder: Path, words: Sequence[str], kill: tuple[float, signal.Signals] | None = None, limit: int | None = None
) -> int:
    """Runs a command in a forked process.

    Args:
        folder: its working directory; what it writes to stderr is in the file ``said`` there.
        words: its arguments.
        kill: after how many seconds it gets which signal.
        limit: most bytes of a file that it writes.

    Returns:
        Its exit code, or minus the number of the signal that has ended it.
    """
    said, stderr = os.pipe()  # a pipe has room where the disk has none
    child = multiprocessing.get_context("fork").Process(target=_command, args=(folder, words, stderr, limit))
    child.start()
    os.close(stderr)
    if kill is not None:
        time.sleep(kill[0])
        os.kill(child.pid or 0, kill[1])  # it is not waited for yet, so that the number is still its own
    with open(said, encoding="utf-8") as pipe:
        (folder / "said").write_text(pipe.read(), encoding="utf-8")
    child.join()
    return child.exitcode or 0


def _command(folder: Path, words: Sequence[str], stderr: int, limit: int | None) -> None:
    """Becomes a command, in a process of its own."""
    os.chdir(folder)
    os.dup2(stderr, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["recbole-aia", *words]
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.exit(importlib.import_module("recbole_aia.cli").main(list(words)))


def main() -> None:
    """Prints a table: of how many commands the repetition gave equal results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS, help="of each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--way", choices=WAYS, action="append", help="only this way; can be repeated")
    parser.add_argument("--case", action="append", help="only this case; can be repeated")
    arguments = parser.parse_args()
    chosen = [case for case in cases() if arguments.case is None or case.name in arguments.case]
    ways = arguments.way or WAYS
    table = survey(arguments.kills, chosen, arguments.seed, ways)
    print(f"| command | seconds alone | {' | '.join(f'{way}: stopped (kept), over, equal' for way in ways)} |")
    print(f"| --- | --- |{' --- |' * len(ways)}")
    for case in chosen:
        cells = [table[case.name, way] for way in ways]
        counts = " | ".join(f"{t.stopped} ({t.kept}), {t.over}, {t.equal} of {t.stopped + t.over}" for t in cells)
        print(f"| {case.name} | {case.seconds:.1f} | {counts} |")
    for way in ways:
        ours = [table[case.name, way] for case in chosen]
        print(f"{way}: {sum(t.equal for t in ours)} of {arguments.kills} equal")
    for fault in [fault for tally in table.values() for fault in tally.faults]:
        print(f"fault: {fault}")


if __name__ == "__main__":
    main()
