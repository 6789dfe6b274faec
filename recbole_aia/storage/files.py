"""Writes files whole or not at all, and fingerprints files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets ``write`` fill a file beside ``path``, then renames it to ``path``, which is never half written."""
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def written_together(folder: Path, last: str) -> Iterator[Path]:
    """Gives an empty folder, and moves the files in it to ``folder`` when the block ends.

    The file called ``last`` is moved last. If the block fails, no file is moved.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as aside:
        yield Path(aside)
        for file in sorted(Path(aside).iterdir(), key=lambda file: file.name == last):
            os.replace(file, folder / file.name)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
