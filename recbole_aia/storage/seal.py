"""Seals checkpoints: a SHA-256 over everything in them, by which a changed byte is found when they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

SEAL = "sha256"


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint with its seal, which replaces an earlier one."""
    return {**{key: value for key, value in state.items() if key != SEAL}, SEAL: seal_of(state)}


def seal_of(state: Mapping[str, Any]) -> str:
    """SHA-256 over all names and values of a checkpoint but the seal itself.

    A tensor counts with its type, its shape and its bytes. Tensors are hashed in threads, because ``hashlib`` leaves
    other threads running; the optimizer's moments then cost hardly any time besides the weights.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        outline = _outline({key: value for key, value in state.items() if key != SEAL}, pool)
        text = json.dumps(outline, sort_keys=True, default=_finished)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _outline(value: Any, pool: ThreadPoolExecutor) -> Any:
    """A value with the digest of each tensor in the tensor's place, still being computed."""
    if isinstance(value, Tensor):
        return pool.submit(_of_tensor, value)
    if isinstance(value, Mapping):
        return {repr(key): _outline(item, pool) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_outline(item, pool) for item in value]
    return value


def _finished(value: Any) -> Any:
    return value.result() if isinstance(value, Future) else f"{type(value).__name__} {value}"


def _of_tensor(tensor: Tensor) -> str:
    dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    digest = hashlib.sha256(f"{dense.dtype} {tuple(dense.shape)} ".encode())
    digest.update(dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
