"""Raw files as blocks of whole records: plain or gzip, of any size, never more than a block in memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recbole_aia.errors import RawDataError

#: The longest record, in bytes; whatever is longer is no line of a table.
LONGEST = 2**20
_BLOCK = 2**21  # larger ones leave the caches
_ARCHIVES = ("*.zip", "*.tar.gz", "*.tgz", "*.tar", "*.7z")


class Block(NamedTuple):
    """Records of a file: the bytes, which end with a line end, and the number of the first line, from 1."""

    data: bytes
    line: int


def find(folder: Path, patterns: Sequence[str], source: str) -> Path:
    """The first file of a folder, or of the folders in it, with one of some names, plain or gzip.

    Args:
        folder: where the raw files are.
        patterns: names, ``*`` standing for anything; earlier ones win.
        source: where the files can be had, for the message.

    Raises:
        RawDataError: there is no such file, or there are several.
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
    """Reads a file, with a progress bar where there is a terminal.

    Args:
        path: the file; gzip is known by its first bytes.
        multiline: whether a record can go on in the next line, inside double quotes.

    Raises:
        RawDataError: the file is empty, damaged, UTF-16, or has a record of more than :data:`LONGEST` bytes.
    """
    line, rest = 1, b""
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
    """The next part of a file, nothing at its end; ``line`` is where it begins."""
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
    """The beginning of a file without its byte order mark."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RawDataError(f"'{path}', line 1: this is UTF-16. Save it as UTF-8.")
    return data.removeprefix(b"\xef\xbb\xbf")


def _end_of_records(data: bytes, multiline: bool) -> int:
    """Where the last whole record ends."""
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
