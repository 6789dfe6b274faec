"""Runs the tasks of a comparison on a Ray cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from recbole_aia.errors import ConfigValueError
from recbole_aia.jobs.executors import Done, Task, processes
from recbole_aia.storage.files import folder_aside, private_folder, write_whole

_RETRIES = 3  # of a run whose node or worker is lost


@dataclass(frozen=True)
class RayExecutor:
    """Makes each run a Ray task, which Ray starts again where a node or a worker is lost.

    A run is made where the cluster has room for it, in the folder of the caller if that machine has it too, and what it
    has written comes back. Every machine needs recbole-aia and, under the same path, the data; RecBole downloads what
    it knows.

    Attributes:
        address: of the cluster, as ``ray.init`` takes it; ``None`` makes one of this machine alone.
        cpus: cores of a run, >= 1.
        gpus: of a run, >= 0; a part of one is allowed.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0

    def __call__(self, tasks: Sequence[Task], done: Done) -> None:
        """See :data:`~recbole_aia.jobs.executors.Execute`.

        Raises:
            ConfigValueError: Ray is not installed, there is no cluster, or none of its machines has room for a run.
        """
        if not tasks:
            return
        ray = _ray()
        try:
            own = {} if self.address else {"include_dashboard": False}
            ray.init(address=self.address or "local", log_to_driver=False, logging_level="error", **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigValueError(f"there is no Ray cluster at '{self.address}': {_line(error)}.") from error
        try:
            self._check_room(ray)
            self._run(ray, tasks, done)
        finally:
            ray.shutdown()

    def _check_room(self, ray: Any) -> None:
        rooms = [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in ray.nodes()
                 if node["Alive"]]  # fmt: skip
        if not any(cpus >= self.cpus and gpus >= self.gpus for cpus, gpus in rooms):
            offered = ", ".join(f"{cpus:g} and {gpus:g}" for cpus, gpus in sorted(set(rooms)))
            raise ConfigValueError(
                f"a run asks for {self.cpus} cores and {self.gpus:g} GPUs, and the cluster's machines have {offered}. "
                "Give a smaller --cpus or --gpus."
            )

    def _run(self, ray: Any, tasks: Sequence[Task], done: Done) -> None:
        remote = ray.remote(_made).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_RETRIES)
        with _proof(tasks[0].folder.parent) as proof:
            running = {remote.remote(task, _config(task), self.cpus, str(Path.cwd()), proof): task for task in tasks}
            waiting = list(running)
            while waiting:
                ended, waiting = ray.wait(waiting, num_returns=1)
                task = running[ended[0]]
                try:
                    made = ray.get(ended[0])
                except ray.exceptions.RayTaskError as error:
                    done(task, f"its worker could not make it: {_line(error.cause or error)}")
                    continue
                except ray.exceptions.RayError as error:
                    done(task, f"its worker was lost {_RETRIES + 1} times: {_line(error)}")
                    continue
                _bring(task, made)
                done(task, made.reason)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigValueError("--executor=ray needs Ray: pip install 'recbole-aia[ray]'.") from error
    return ray


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def _proof(runs: Path) -> Iterator[str]:
    """A file beside the runs. A machine that sees it shares the caller's files."""
    private_folder(runs)
    proof = runs.absolute() / f".{uuid4().hex}.cluster"
    proof.touch()
    try:
        yield str(proof)
    finally:
        proof.unlink(missing_ok=True)


def _config(task: Task) -> bytes:
    """The run's configuration, which the other machine may not have as a file."""
    return Path(task.arguments[-1]).read_bytes()


@dataclass(frozen=True)
class _Made:
    """What comes back of a run: why it failed, what it has printed, and its files if they are not here already."""

    reason: str | None
    log: bytes
    files: dict[str, bytes]


def _made(task: Task, config: bytes, threads: int, here: str, proof: str) -> _Made:
    """Makes a run on a machine of the cluster."""
    shared = Path(proof).is_file()
    work = Path(here) if shared else _own_folder()
    os.chdir(work)
    with tempfile.TemporaryDirectory() as folder, processes() as start:
        place = Path(folder)
        (place / "run.yaml").write_bytes(config)
        mine = replace(
            task,
            arguments=(*task.arguments[:-1], str(place / "run.yaml")),
            folder=task.folder if shared else place / "run",
            log=place / "run.log",
        )
        reason = start(mine, threads)
        files = {} if shared or reason else {each.name: each.read_bytes() for each in mine.folder.iterdir()}
        return _Made(reason, mine.log.read_bytes(), files)


def _own_folder() -> Path:
    """Where this machine keeps twins and data of runs whose caller's folder it does not have."""
    folder = Path(tempfile.gettempdir()) / f"recbole-aia-{os.getuid()}"
    private_folder(folder)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"'{folder}' belongs to another account")
    return folder


def _bring(task: Task, made: _Made) -> None:
    """Writes what has come back of a run, all of its files or none."""
    write_whole(task.log, lambda aside: aside.write_bytes(made.log))
    if made.files:
        private_folder(task.folder.parent)
        with folder_aside(task.folder.parent) as aside:
            whole = aside / "run"
            private_folder(whole)
            for name, content in made.files.items():
                write_whole(whole / name, lambda file, content=content: file.write_bytes(content))  # type: ignore[misc]
            if task.folder.exists():  # of a run that failed, or of other data
                task.folder.rename(aside / "old")
            whole.rename(task.folder)
