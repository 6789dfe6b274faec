"""Changes files at random: bits, cuts, copies and words; inside an archive, where damage passes the checksums."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable

_WORDS = [
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"null", b"~", b"None", b"true", b"''",
    b'"', b"'", b"\n", b"\r", b"\0", b"\t", b",", b";", b":", b"{", b"}", b"[", b"]", b"&a", b"*a", b"<<", b"!!python/",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"=1+1", b"user_id", b":float_seq", b"<f8", b"|O", b"(4294967296,)",
    b"True", b"{inter: ~}", b"2024-13-45", b"0x1", b"1_0", b"__class__", b"..", b"/dev/zero",
]  # fmt: skip

Change = Callable[[bytes, random.Random], bytes]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A changed file: one to four changes, for an archive mostly within one of its members."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        content = in_member(content, rng, bytes_changed) if rng.random() < 0.7 else bytes_changed(content, rng)
    return content


def bytes_changed(content: bytes, rng: random.Random) -> bytes:
    """One change of a text or of bytes."""
    return rng.choice(_CHANGES)(content, rng)


def in_member(content: bytes, rng: random.Random, change: Change) -> bytes:
    """An archive with a change in one of its members and right checksums; what is no archive is changed itself."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        chosen = rng.randrange(len(members))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OSError):
        return change(content, rng)
    except Exception:  # the archive is damaged already, and zlib or zipfile say so in many ways
        return change(content, rng)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of members of the same name
        for place, (info, data) in enumerate(members):
            archive.writestr(info.filename, change(data, rng) if place == chosen else data)
    return made.getvalue()


def _place(content: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(content))


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\0"
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _without(content: bytes, rng: random.Random) -> bytes:
    start = _place(content, rng)
    return content[:start] + content[start + rng.choice([1, 2, 8, 64]) :]


def _twice(content: bytes, rng: random.Random) -> bytes:
    start = _place(content, rng)
    part = content[start : start + rng.choice([1, 8, 64, 256])]
    there = _place(content, rng)
    return content[:there] + part * rng.choice([1, 1, 2, 50]) + content[there:]


def _word(content: bytes, rng: random.Random) -> bytes:
    start, word = _place(content, rng), rng.choice(_WORDS)
    return content[:start] + word + content[start + rng.choice([0, 0, 1, len(word)]) :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """Binary numbers that are too large, negative, or none."""
    kind = rng.choice(["<i", "<q", "<f", "<d", "<H"])
    low, high = {"<i": (-(2**31), 2**31 - 1), "<q": (-(2**63), 2**63 - 1), "<H": (0, 2**16 - 1)}.get(kind, (0, 0))
    value = rng.choice([float("nan"), float("inf"), 1e38]) if kind in "<f<d" else rng.choice([low, high, 0])
    start, new = _place(content, rng), struct.pack(kind, value)
    return content[:start] + new + content[start + len(new) :]


_CHANGES: list[Change] = [_flip, _flip, _cut, _without, _twice, _word, _word, _word, _number]
