"""Reads NumPy's .npy and .npz files, and believes nothing that their headers say before it is checked.

A header can claim more memory than a machine has, and a zip file can claim any size for its members. Everything is
compared with the bytes that are there, before memory is taken.
"""

from __future__ import annotations

import mmap
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from recbole_aia.config.text import refuse_special
from recbole_aia.errors import AttributeDataError

#: What readers raise on damaged files; zipfile raises NotImplementedError and RuntimeError on unusual archives.
UNREADABLE = (
    OSError, EOFError, MemoryError, NotImplementedError, OverflowError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_DEFLATED = 1040  # bytes that one byte of the deflate method can stand for, at most
_MAPPED = 1 << 30  # bytes from which on an .npy file stays on the disk, and only what is used of it is read
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """Reads an .npy file. A large one is mapped: it must not change while it is used.

    Raises:
        AttributeDataError: the file is of another kind, holds objects, or fewer bytes than its header says.
    """
    refuse_special(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < _MAPPED:
            return _read_array(file, size, f"'{path}'")
        return _mapped(file, size, f"'{path}'", "r")


def map_npy(path: Path) -> np.ndarray:
    """Maps an .npy file of any size: it must not change while it is used, and what is written stays in memory.

    Raises:
        AttributeDataError: see :func:`read_npy`.
    """
    refuse_special(path)
    with path.open("rb") as file:
        return _mapped(file, path.stat().st_size, f"'{path}'", "c")


def let_go(array: np.ndarray) -> None:
    """Gives back the memory of what was read of a mapped array, which otherwise counts as this process's."""
    if isinstance(array, np.memmap) and hasattr(array._mmap, "madvise"):  # type: ignore[attr-defined]
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class Arrays(Mapping[str, np.ndarray]):
    """The arrays in an .npz file, each read when it is asked for.

    Args:
        path: the file.

    Raises:
        AttributeDataError: the file is no archive of NumPy's.
    """

    def __init__(self, path: Path) -> None:
        refuse_special(path)
        if path.is_file() and not zipfile.is_zipfile(path):
            raise AttributeDataError(f"'{path}' cannot be read: it is no .npz file, or only the beginning of one.")
        self._path = path
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        self._infos = {info.filename.removesuffix(".npy"): info for info in infos}
        if len(self._infos) < len(infos):
            raise AttributeDataError(f"'{path}' holds two arrays of one name. Write it anew.")
        for name, info in self._infos.items():
            if info.flag_bits & 1:
                raise AttributeDataError(f"'{name}' in '{path}' is encrypted. Write the file without a password.")
            too_large = info.file_size > info.compress_size * _MOST_DEFLATED + 1024
            if info.compress_type not in _KINDS or too_large:
                raise AttributeDataError(
                    f"'{name}' in '{path}' is not compressed as NumPy does it. Write the file with numpy.savez."
                )

    def __getitem__(self, name: str) -> np.ndarray:
        info, where = self._infos[name], f"'{name}' in '{self._path}'"
        with zipfile.ZipFile(self._path) as archive, archive.open(info) as member:
            return _read_array(cast(BinaryIO, member), info.file_size, where)

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)


def _read_array(file: BinaryIO, size: int, where: str) -> np.ndarray:
    """Reads an array from a file of ``size`` bytes, after its header fits that size; ``where`` names it."""
    shape, in_columns, kind = _header(file, size, where)
    claimed = prod(shape) * kind.itemsize
    content = file.read(claimed)
    if len(content) < claimed:
        raise AttributeDataError(f"{where} ends too early. Is it damaged?")
    return np.frombuffer(content, kind).reshape(shape, order="F" if in_columns else "C").copy(order="K")


def _mapped(file: BinaryIO, size: int, where: str, mode: Literal["r", "c"]) -> np.ndarray:
    shape, in_columns, kind = _header(file, size, where)
    if file.tell() + prod(shape) * kind.itemsize > size:
        raise AttributeDataError(f"{where} ends too early. Is it damaged?")
    return np.memmap(file, kind, mode, file.tell(), shape, "F" if in_columns else "C")


def _header(file: BinaryIO, size: int, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, whether columns come first, and the type of the array in a file of ``size`` bytes."""
    start = file.read(6)
    if start != np.lib.format.MAGIC_PREFIX:
        raise AttributeDataError(f"{where} cannot be read: it is no array of NumPy's. Write it with numpy.save.")
    version = tuple(file.read(2))
    read = _READERS.get(cast(tuple[int, int], version))
    if read is None:
        raise AttributeDataError(f"{where} is of NumPy's format {version}, not 1.0 or 2.0. Write it with numpy.save.")
    try:
        shape, in_columns, kind = read(file)
    except Exception as error:  # NumPy parses the header as Python does, and so raises whatever that parser raises
        raise AttributeDataError(f"{where} has a header that cannot be read. Is it damaged?") from error
    if kind.hasobject:
        raise AttributeDataError(f"{where} cannot be read: Object arrays can run code. Write numbers or texts.")
    claimed = prod(shape) * kind.itemsize
    if min(shape, default=0) < 0:
        raise AttributeDataError(f"{where} cannot be read: its shape is {shape}. Is it damaged?")
    if claimed > size:
        raise AttributeDataError(f"{where} claims {claimed:,} bytes and has {size:,}. Is it damaged?")
    return shape, in_columns, kind
