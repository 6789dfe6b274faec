"""Which of several processes this one is, by the environment that torchrun sets; and a start of such processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # nosec B404
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recbole_aia.errors import Interrupted

_LOOK = 0.1  # seconds between two looks at the processes
_GRACE = 10.0  # seconds in which the others may end by themselves when one has failed, and again after SIGTERM
_STARTED = "RECBOLE_AIA_STARTED"  # tells a process that another one waits for it, and speaks where it is interrupted
_KEPT = "What is done is kept: the same command goes on, with any number of processes."
_PORT = 5678  # RecBole's, where several machines have to agree on one


@dataclass(frozen=True)
class Place:
    """The place of this process among those that train together."""

    rank: int
    """Its number among all, from 0."""
    local: int
    """Its number among those of this machine, from 0."""
    count: int
    """How many there are; 1 if it is alone."""
    here: int
    """How many of them are on this machine."""


_ALONE = Place(rank=0, local=0, count=1, here=1)


def place() -> Place:
    """The place of this process, by the variables of torchrun."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    try:
        rank, local, count = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError):
        return _ALONE
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    return Place(rank, local, count, here) if count > 1 and "MASTER_ADDR" in os.environ else _ALONE


def is_started() -> bool:
    """Whether :func:`start` has started this process."""
    return _STARTED in os.environ


def start(
    words: Sequence[str], nproc: int, world_size: int, ip: str = "localhost", port: int | None = None, offset: int = 0
) -> int:
    """Starts processes of the command ``recbole-aia``, and waits for their end; if one fails, all end.

    Args:
        words: the arguments of each.
        nproc: how many start on this machine.
        world_size: how many there are on all machines.
        ip: the machine of the first.
        port: a free one of that machine; ``None`` finds one, or takes RecBole's if there are several machines.
        offset: the number of the first that starts on this machine.

    Returns:
        The exit code: 0, or that of the first process to fail; 2 for one that a signal has killed.

    Raises:
        Interrupted: this process or one of them was interrupted, and all have ended.
    """
    if port is None:
        port = free_port() if world_size == nproc else _PORT
    home = str(Path(__file__).parents[1])
    shared = {
        **os.environ,
        "MASTER_ADDR": ip,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(nproc),
        _STARTED: "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")])),
    }
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    command = [sys.executable, "-m", "recbole_aia.cli", *words]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for local in range(nproc):
            own = {"RANK": str(offset + local), "LOCAL_RANK": str(local)}
            processes.append(subprocess.Popen(command, env=shared | own))  # nosec B603
        failed = _wait(processes)
    except Interrupted as error:
        error.way_on = _KEPT
        raise
    finally:
        _end(processes)
    if failed is None:
        return 0
    code = processes[failed].returncode
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        interrupted = Interrupted(code - 128)
        interrupted.way_on = _KEPT
        raise interrupted
    if code > 0:
        return code
    if offset or processes[0].returncode != 2:  # the first one has not said that another is lost
        print(
            f"recbole-aia: process {offset + failed} of {world_size} was killed by signal {-code}. {_KEPT}",
            file=sys.stderr,
        )
    return 2


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Waits for the end of all, or for the first that fails, whose number is returned."""
    while True:
        codes = [process.poll() for process in processes]
        failed = next((number for number, code in enumerate(codes) if code not in (None, 0)), None)
        if failed is not None or None not in codes:
            return failed
        time.sleep(_LOOK)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Lets processes end by themselves for a while, then asks them to, then kills them."""
    for way in ("wait", "terminate", "kill"):
        for process in processes:
            if process.poll() is None:
                getattr(process, way)() if way != "wait" else None
        until = time.monotonic() + _GRACE
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
