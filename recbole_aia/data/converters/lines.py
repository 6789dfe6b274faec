"""Reads raw files, plain or gzip, block by block; a block holds whole records and fits into memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recbole_aia.config.text import refuse_special
from recbole_aia.errors import RawDataError

#: The longest record in bytes. A file with a longer one is not a table.
LONGEST = 2**20
_BLOCK = 2**21  # bytes of a block; larger blocks do not fit into the processor's caches
_ARCHIVES = ("*.zip", "*.tar.gz", "*.tgz", "*.tar", "*.7z")


class Block(NamedTuple):
    """Some records of a file: their bytes, with a line end last, and the number of the first line, from 1."""

    data: bytes
    line: int


def find(folder: Path, patterns: Sequence[str], source: str) -> Path:
    """Finds a raw file, plain or gzip, in a folder or up to two folders below it.

    Args:
        folder: the folder of raw files.
        patterns: possible names of the file, ``*`` for any text; an earlier name wins.
        source: where to get the files, for the message.

    Raises:
        RawDataError: no file has one of the names, or several files have.
    """
    if not folder.is_dir():
        raise RawDataError(f"there is no folder '{folder}' with raw files. {source}")
    for pattern in (name.replace("[", "[[]").replace("?", "[?]") for name in patterns):
        for place in ("", "*/", "*/*/"):
            found = sorted({*folder.glob(place + pattern), *folder.glob(f"{place}{pattern}.gz")})
            if len(found) > 1 and found[1].name != found[0].name + ".gz":
                raise RawDataError(f"'{found[0]}' and '{found[1]}' could both be meant. Leave one in '{folder}'.")
            if found:
                return found[0]
    packed = next((file.name for archive in _ARCHIVES for file in sorted(folder.glob(archive))), None)
    hint = f"Unpack '{packed}' first." if packed else source
    raise RawDataError(f"there is no '{patterns[0]}' in '{folder}'. {hint}")


def blocks(path: Path, multiline: bool = False) -> Iterator[Block]:
    """Reads a file block by block; shows a progress bar in a terminal.

    Args:
        path: the file. Its first bytes tell whether it is gzip.
        multiline: whether a record can span several lines, inside double quotes.

    Raises:
        RawDataError: the file is empty, damaged or UTF-16, or has a record of more than :data:`LONGEST` bytes.
    """
    line, rest = 1, b""
    refuse_special(path)
    try:
        with path.open("rb") as raw, _progress(path) as bar:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            while piece := _read(file, path, line + rest.count(b"\n")):
                data = rest + (piece if rest or line > 1 else _begun(path, piece))
                _refuse_long_lines(path, line, data)
                end = _end_of_records(data, multiline)
                if end:
                    yield Block(data[:end], line)
                line += data.count(b"\n", 0, end)
                rest = data[end:]
                if len(rest) > LONGEST:
                    raise _unclosed(path, line)
                bar.update(raw.tell() - bar.n)
    except OSError as error:
        raise RawDataError(f"'{path}' cannot be read: {error.strerror or error}. Check the path.") from error
    if line == 1 and not rest.strip():
        raise RawDataError(f"'{path}', line 1: the file is empty. Download it again.")
    if multiline and rest.count(b'"') % 2:
        raise _unclosed(path, line)
    if rest:
        yield Block(rest + b"\n", line)


def _progress(path: Path) -> tqdm[Any]:
    size = path.stat().st_size
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)


def _read(file: IO[bytes], path: Path, line: int) -> bytes:
    """The next piece of a file, empty at its end; ``line`` is the number of the piece's first line."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < _BLOCK and (piece := file.read1(_BLOCK - size)):  # type: ignore[attr-defined]
            pieces.append(piece)
            size += len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        line += sum(piece.count(b"\n") for piece in pieces)
        what = str(error).rstrip(".") or "damaged"
        raise RawDataError(f"'{path}', line {line}: the file breaks off here ({what}). Download it again.") from error
    return b"".join(pieces)


def _begun(path: Path, data: bytes) -> bytes:
    """The first piece of a file without its byte order mark."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RawDataError(f"'{path}', line 1: this is UTF-16. Save it as UTF-8.")
    return data.removeprefix(b"\xef\xbb\xbf")


def _end_of_records(data: bytes, multiline: bool) -> int:
    """The position after the last whole record."""
    end = data.rfind(b"\n") + 1
    if not multiline or b'"' not in data:
        return end
    marks = np.frombuffer(data, np.uint8, count=end)
    inside = np.cumsum(marks == ord('"'), dtype=np.int64) & 1
    whole = np.flatnonzero((marks == ord("\n")) & (inside == 0))
    return int(whole[-1]) + 1 if whole.size else 0


def _refuse_long_lines(path: Path, line: int, data: bytes) -> None:
    start = 0
    while len(data) - start > LONGEST:
        end = data.rfind(b"\n", start, start + LONGEST + 1)
        if end < 0:
            line += data.count(b"\n", 0, start)
            raise RawDataError(
                f"'{path}', line {line}: the line is longer than {LONGEST:,} bytes. Is the file damaged?"
            )
        start = end + 1


def _unclosed(path: Path, line: int) -> RawDataError:
    return RawDataError(f"'{path}', line {line}: a quote opens here and is not closed. Mend the line.")
