"""Writes folders of RecBole's atomic files, whole or not at all."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_aia.errors import ConfigValueError
from recbole_aia.storage.files import folder_aside, private_files, private_folder


def write_dataset(out: Path, name: str, fill: Callable[[Path], object]) -> Path:
    """Writes the files of a dataset into the folder ``out/name``, all or none, for their owner only.

    Args:
        out: the folder of datasets; made if it is missing.
        name: the dataset.
        fill: writes the files into the folder that it is given. That folder is renamed to ``out/name`` afterwards.

    Returns:
        ``out/name``. If it has the same files with the same content already, they stay as they are.

    Raises:
        ConfigValueError: ``out/name`` holds other files, or ``out`` cannot be written to.
    """
    place = out / name
    try:
        private_folder(out)
        with folder_aside(out, name) as around:
            aside = around / name
            private_folder(aside)
            fill(aside)
            private_files(aside)
            files = sorted(str(path.relative_to(aside)) for path in aside.rglob("*") if path.is_file())
            if not place.exists():
                os.replace(aside, place)
            elif len(filecmp.cmpfiles(place, aside, files, shallow=False)[0]) < len(files):
                raise ConfigValueError(f"'{place}' holds something else. Remove it, or give another --out.")
    except OSError as error:
        raise _unwritable(out, error) from error
    return place


@contextmanager
def scratch_folder(out: Path, name: str) -> Iterator[Path]:
    """Gives an empty folder in ``out`` for what does not fit into memory, and removes it when the block ends.

    Raises:
        ConfigValueError: ``out`` cannot be written to.
    """
    missing = not out.exists()
    try:
        private_folder(out)
        with folder_aside(out, f"{name}.parts") as scratch:
            yield scratch
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        if missing:
            with suppress(OSError):  # it is not empty, as it should be
                out.rmdir()


def _unwritable(out: Path, error: OSError) -> ConfigValueError:
    return ConfigValueError(f"cannot write to '{out}': {error.strerror}. Give another --out.")
