"""Snapshots of a job: what it has done so far, so that the same job goes on from there after an interruption."""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.errors import StorageError
from recbole_aia.storage.files import disk_errors, private_folder, write_whole

_KEPT = 2  # snapshots of a stage; a damaged newest one falls back to the one before
_SHARE = 20  # a snapshot is due when this many times the last one's writing time has passed: at most 5% is spent
_DIGEST = hashlib.sha256().digest_size


class Snapshots:
    """The last states of one stage, such as a training, in a folder.

    A state is a mapping of tensors and plain data. Writing one never fails a job: where the disk is full, the job goes
    on, says so once, and tries again.

    Args:
        folder: the stage's own folder; made with the first state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._due, self._warned = 0.0, False

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last snapshot for another."""
        return time.monotonic() >= self._due

    def save(self, state: Mapping[str, Any]) -> None:
        """Keeps a state. It is written aside and renamed, and the last two states stay."""
        start, numbers = time.monotonic(), self._numbers()
        if _kept(self.folder, str(max(numbers, default=0) + 1), state, quiet=self._warned):
            for number in sorted(numbers)[: 1 - _KEPT]:
                (self.folder / str(number)).unlink(missing_ok=True)
        else:
            self._warned = True
        now = time.monotonic()
        self._due = now + _SHARE * (now - start)

    def last(self) -> dict[str, Any] | None:
        """The last whole state; ``None`` if there is none. Damaged files are passed over."""
        for number in sorted(self._numbers(), reverse=True):
            state = read_state_file(self.folder / str(number))
            if state is not None:
                return state
        return None

    def clear(self) -> None:
        """Removes all states."""
        for number in self._numbers():
            (self.folder / str(number)).unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return [int(file.name) for file in self.folder.iterdir() if file.name.isdigit()]


class Answers:
    """Answers of attackers by name, a file each; see :class:`~recbole_aia.evaluator.protocol.Kept`.

    Args:
        folder: their folder; made with the first answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._warned = folder, False

    def get(self, name: str) -> dict[str, Any] | None:
        """The answer of this name; ``None`` if it is missing or damaged."""
        answer = read_state_file(self._folder / name)
        return None if answer is None else {**answer, "scores": [part.numpy() for part in answer["scores"]]}

    def put(self, name: str, answer: Mapping[str, Any]) -> None:
        """Keeps an answer, whose ``scores`` are arrays."""
        state = {**answer, "scores": [torch.from_numpy(np.array(part)) for part in answer["scores"]]}
        self._warned = not _kept(self._folder, name, state, quiet=self._warned) or self._warned


def _kept(folder: Path, name: str, state: Mapping[str, Any], quiet: bool) -> bool:
    """Keeps a state, and says whether that went well. The work goes on without, because the disk may get room again."""
    try:
        with disk_errors():
            private_folder(folder)
            write_state(folder / name, state)
    except StorageError as error:
        if not quiet:
            getLogger().warning(f"what is done cannot be kept for an interruption ({error.__cause__}). It goes on.")
        return False
    return True


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain data with their SHA-256 in front, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    digest = hashlib.sha256(content).digest()

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            file.write(digest)
            file.write(content)

    write_whole(path, write)


def read_state_file(path: Path) -> dict[str, Any] | None:
    """The content of a file of :func:`write_state`, on the CPU; ``None`` if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(memoryview(content)[_DIGEST:]).digest() != content[:_DIGEST]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True)
    return state


def tensors_digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over the names and the content of a model's tensors."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes() if isinstance(value, torch.Tensor) else b"")
    return digest.hexdigest()


def random_states(*generators: torch.Generator | None) -> dict[str, Any]:
    """The states of all random numbers: Python's, NumPy's, torch's, and those of ``generators``, as plain data."""
    version, words, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "own": [None if each is None else each.get_state() for each in generators],
    }


def restore_random(states: Mapping[str, Any], *generators: torch.Generator | None) -> None:
    """Brings back what :func:`random_states` gave, with the same ``generators`` in the same order."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    for generator, state in zip(generators, states["own"], strict=True):
        if generator is not None:
            generator.set_state(state)
