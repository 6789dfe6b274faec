"""Writes files whole or not at all, for their owner only, and fingerprints files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def written_together(folder: Path, last: str) -> Iterator[Path]:
    """Gives an empty folder, and moves the files in it to ``folder`` when the block ends.

    The file called ``last`` is moved last. If the block fails, no file is moved. Only the owner can read the files.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as aside:
        yield Path(aside)
        for file in sorted(Path(aside).iterdir(), key=lambda file: file.name == last):
            file.chmod(_FILE)
            os.replace(file, folder / file.name)


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
