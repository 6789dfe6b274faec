"""What an interrupted job has got done, kept in its output folder until the job ends."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from logging import getLogger
from pathlib import Path
from typing import IO, Any

from recbole_aia.errors import ConfigValueError, LostProcessError, StorageError, interruption_in
from recbole_aia.storage.files import disk_errors, lock_file, private_folder, sweep, write_whole
from recbole_aia.storage.snapshots import Answers, Snapshots

_FOLDER, _JOB = ".progress", "job.json"
#: The configuration of an interrupted run, in its output folder.
CONFIG = Path(_FOLDER) / "config.yaml"


class Progress:
    """The kept parts of one job.

    Args:
        folder: the job's output folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / _FOLDER

    def stage(self, name: str) -> Snapshots:
        """The snapshots of a stage, such as a training."""
        return Snapshots(self.folder / name)

    def answers(self) -> Answers:
        """The finished fits of attackers, by key."""
        return Answers(self.folder / "attacks")


def job_digest(**parts: Any) -> str:
    """A digest of all that decides the numbers of a job, from plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def interrupted_job(folder: Path) -> str | None:
    """The settings' digest of the job that was interrupted in a folder; ``None`` if there is none."""
    try:
        return str(json.loads((folder / _FOLDER / _JOB).read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def nothing_interrupted(folder: Path | str) -> ConfigValueError:
    """The error of ``--resume`` in a folder without an interrupted job."""
    return ConfigValueError(f"'{folder}' holds no interrupted job to go on with. Leave --resume out to begin one.")


def check_interrupted(folder: Path, settings: str) -> bool:
    """Whether a job with these settings was interrupted in a folder.

    Raises:
        ConfigValueError: a job with other settings was.
    """
    held = interrupted_job(folder)
    if held not in (None, settings):
        raise ConfigValueError(
            f"'{folder}' holds an interrupted job with other settings. Repeat its command to finish it, remove "
            f"'{folder / _FOLDER}', or give another --output_dir."
        )
    return held is not None


@contextmanager
def progress(folder: Path, settings: str, basis: str, config: str | None = None) -> Iterator[Progress]:
    """Gives the kept parts of a job, and removes them when the block ends or fails for good.

    They stay after an interruption, an error of the disk and the loss of another process, so that the same command goes
    on. They are dropped where ``basis`` has changed since. Nobody else can work in the folder meanwhile.

    Args:
        folder: the job's output folder, which exists.
        settings: digest of the settings.
        basis: digest of the rest that decides the job's numbers: data and versions.
        config: the job's configuration as YAML, kept for those who do not have the command any more.

    Raises:
        ConfigValueError: another process works in the folder.
    """
    kept = Progress(folder)
    job = {"settings": settings, "basis": basis}
    with disk_errors():
        private_folder(kept.folder)
        lock = (kept.folder / "lock").open("w", encoding="utf-8")
    with lock:
        _hold(lock, folder)
        sweep(folder)
        _begin(kept.folder, job, config)
        try:
            with disk_errors():
                yield kept
        except BaseException as error:
            interrupted = interruption_in(error)
            if interrupted is not None:
                interrupted.way_on = f"What is done is kept in '{folder}': the same command goes on from there."
            elif not isinstance(error, (KeyboardInterrupt, LostProcessError, StorageError)):
                _drop(kept.folder)
            raise
        _drop(kept.folder)


def _drop(folder: Path) -> None:
    """Removes what was kept, at once for all who look, even if this process dies before all files are gone."""
    with suppress(OSError):
        aside = folder.with_name(f".{os.getpid()}{_FOLDER}")
        folder.rename(aside)
        folder = aside
    shutil.rmtree(folder, ignore_errors=True)


def _begin(folder: Path, job: Mapping[str, str], config: str | None) -> None:
    """Drops what a job on another basis has left, and writes whose folder this is."""
    with suppress(OSError, ValueError):
        if json.loads((folder / _JOB).read_text(encoding="utf-8")) == job:
            getLogger().info("An interrupted job was found; what it has done is taken over.")
            return
    with disk_errors():
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
        if config is not None:
            write_whole(folder / CONFIG.name, lambda aside: aside.write_text(config, encoding="utf-8"))
        write_whole(folder / _JOB, lambda aside: aside.write_text(json.dumps(job), encoding="utf-8"))


def _hold(lock: IO[str], folder: Path) -> None:
    """Locks a job's file; raises :class:`ConfigValueError` if another process holds it."""
    try:
        lock_file(lock, wait=False)
    except BlockingIOError as error:
        raise ConfigValueError(
            f"another process works in '{folder}'. Wait for its end, or give another --output_dir."
        ) from error
