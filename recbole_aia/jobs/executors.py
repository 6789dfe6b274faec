"""Runs commands side by side in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import joblib

import recbole_aia

_WAIT = 10.0  # seconds for a run to end after it was asked to
# A run ends with the process that has started it, however that ends; else it would go on alone. Linux can do this.
# The process may have ended before the run has asked for that.
_WITH_PARENT = (
    "import ctypes, os, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL); os.getppid() == {} or os._exit(1); "
)
_RUN = "from recbole_aia.cli import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Task:
    """A run to make.

    Attributes:
        name: of its log.
        arguments: of ``recbole-aia run``, without its folder.
        folder: for the run's files.
        log: the file for all that it prints.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    log: Path


#: Called for each task that has ended, with ``None``, or with the line that says why it failed.
Done = Callable[[Task, str | None], None]
#: Runs tasks to their ends.
Execute = Callable[[Sequence[Task], Done], None]


def run_local(tasks: Sequence[Task], done: Done, jobs: int = 1) -> None:
    """Runs tasks on this machine.

    Args:
        tasks: in the order in which they start.
        done: see :data:`Done`.
        jobs: processes at a time, >= 1. They share the cores.
    """
    threads = max(1, int(joblib.cpu_count()) // jobs)
    with processes() as start, ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(start, task, threads): task for task in tasks}
        try:
            for future in as_completed(running):
                done(running[future], future.result())
        except BaseException:
            for future in running:
                future.cancel()
            start.stop()
            raise


def run_none(tasks: Sequence[Task], done: Done) -> None:
    """Makes no run: a table is made of those that are there."""
    for task in tasks:
        done(task, "not made yet")


class Processes:
    """Starts runs and knows those that are alive."""

    def __init__(self) -> None:
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, task: Task, threads: int) -> str | None:
        """Runs a task to its end; ``None``, or why it failed."""
        if self._stopped:
            return "interrupted"
        code = (_WITH_PARENT.format(os.getpid()) if sys.platform == "linux" else "") + _RUN
        own = (f"--output_dir={task.folder}", f"--attack_jobs={threads}")
        command = [sys.executable, "-c", code, "run", *task.arguments, *own]
        with task.log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=_environment(threads))
            self._alive.add(process)
            if self._stopped:
                process.terminate()
            try:
                status = process.wait()
            finally:
                self._alive.discard(process)
        return None if status == 0 else _reason(task.log, status)

    def stop(self) -> None:
        """Ends all that are alive."""
        self._stopped = True
        for process in list(self._alive):
            process.terminate()
        for process in list(self._alive):
            with suppress(subprocess.TimeoutExpired):
                process.wait(_WAIT)
            process.kill()


@contextmanager
def processes() -> Iterator[Processes]:
    """Gives what starts runs; those that are alive end with the block."""
    started = Processes()
    try:
        yield started
    finally:
        started.stop()


def _environment(threads: int) -> Mapping[str, str]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    # The package of this process, wherever it is imported from.
    path = [str(Path(recbole_aia.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(path)}


def _reason(log: Path, status: int) -> str:
    """Our line among the last that a run has printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    ours = [line for line in lines if line.startswith("recbole-aia: ")]
    return ours[-1].removeprefix("recbole-aia: ") if ours else f"ended with exit code {status}; see {log}"
