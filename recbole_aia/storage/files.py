"""Files that appear whole or not at all, and their fingerprints."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets ``write`` fill a file beside ``path`` and renames it there, so ``path`` is never half written."""
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def written_together(folder: Path, last: str) -> Iterator[Path]:
    """Gives an empty folder to write in, whose files are then moved to ``folder``, that called ``last`` at the end.

    Where anything fails inside, nothing is moved.
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
