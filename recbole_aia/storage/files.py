"""Writes files whole or not at all, for their owner only; removes what dead processes left, and fingerprints files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from recbole_aia.errors import StorageError

_ASIDE = re.compile(r"\.(\d+)\..+")  # what a process writes aside begins with its number
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter")  # torch writes in C++ and loses the system's error
_FILE, _FOLDER = 0o600, 0o700  # modes: the owner reads and writes, and nobody else


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets ``write`` fill a file beside ``path``, then renames it to ``path``, which is never half written.

    Only the owner can read and write the file, also where it replaces one that others could read.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        private_file(aside)
        write(aside)
        os.replace(aside, path)
    except RuntimeError as error:
        if not any(name in str(error) for name in _TORCH_WRITER):
            raise
        raise OSError(errno.ENOSPC, "the disk is full or read-only, or files may not be so large", str(path)) from error
    finally:
        with suppress(OSError):  # an error of the removal would hide the error of the writing
            aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(parent: Path, name: str = "aside") -> Iterator[Path]:
    """Gives an empty folder in ``parent``, and removes it when the block ends.

    Its name begins with the number of this process, so that :func:`sweep` knows whether its owner lives.
    """
    sweep(parent)
    aside = Path(tempfile.mkdtemp(dir=parent, prefix=f".{os.getpid()}.{name}."))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def written_together(folder: Path, last: str) -> Iterator[Path]:
    """Gives an empty folder, and moves the files in it to ``folder`` when the block ends.

    The file called ``last`` is moved last. If the block fails, no file is moved. Only the owner can read the files.
    """
    with folder_aside(folder) as aside:
        yield aside
        private_files(aside)
        for file in sorted(aside.iterdir(), key=lambda file: file.name == last):
            os.replace(file, folder / file.name)


def private_files(folder: Path) -> None:
    """Lets only the owner read and write the files in a folder, and enter the folders in it."""
    for file in folder.rglob("*"):
        file.chmod(_FOLDER if file.is_dir() else _FILE)


def sweep(folder: Path) -> None:
    """Removes the files and folders that processes of this machine wrote aside in a folder and that died since."""
    with suppress(OSError):
        for entry in folder.iterdir():
            owner = _ASIDE.fullmatch(entry.name)
            if owner is None or _lives(int(owner[1])):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it lives and is somebody else's
        return True
    return True


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Inside, no other process of this machine is inside for the same path; others wait."""
    name = path.with_name(f".{path.name}.lock")
    while True:
        with name.open("w", encoding="utf-8") as lock:
            lock_file(lock)
            if not _is_still(name, lock):
                continue  # whoever held it has removed it, and others lock another file of this name
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return


def _is_still(name: Path, file: IO[str]) -> bool:
    """Whether an open file still has its name."""
    with suppress(OSError):
        return os.path.samestat(name.stat(), os.fstat(file.fileno()))
    return False


def lock_file(file: IO[str], *, wait: bool = True) -> None:
    """Locks a file as long as it is open; the system lets go of it when the process dies.

    A file system without locks, and Windows, let all in.

    Raises:
        BlockingIOError: another process holds the lock, and ``wait`` is false.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns the system's errors of reading and writing into one line; also serves as a decorator.

    Raises:
        StorageError: a file cannot be read or written: the disk is full, read-only or gone, for example.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        where = f"'{error.filename}'" if error.filename is not None else "a file"
        raise StorageError(
            f"cannot read or write {where}: {error.strerror or error}. Make room, or mend the path or its rights, "
            "and repeat the command. What was whole is as it was."
        ) from error


def private_file(path: Path) -> None:
    """Makes an empty file that only its owner can read and write; a file that is there is removed.

    The mode is set when the file is made, and not afterwards: between the two, others could open it.
    """
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))


def private_folder(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, that only their owner can enter.

    A folder that is there keeps its mode.
    """
    for each in reversed(folder.parents):
        if not each.exists():
            each.mkdir(_FOLDER, exist_ok=True)
    folder.mkdir(_FOLDER, exist_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
