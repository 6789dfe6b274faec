"""Times tasks in turns, on a CPU or a GPU, and makes the line that every benchmark prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor


def seconds(task: Callable[[], Any]) -> float:
    """Wall-clock time of one call, and of the work that it leaves to a GPU."""
    _wait()
    start = time.perf_counter()
    task()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def interleaved(tasks: Sequence[Callable[[], Any]], repeats: int, warm_up: int = 1) -> list[float]:
    """Median seconds of each task. The tasks take turns, so that a busy machine slows all of them alike."""
    for _ in range(warm_up):
        for task in tasks:
            task()
    times = [[seconds(task) for task in tasks] for _ in range(repeats)]
    return [median(column) for column in zip(*times, strict=True)]


def speed_up(name: str, ours: float, reference: float, error: float, **details: Any) -> dict[str, Any]:
    """A result with the ratio reference / ours: how many times faster ours is."""
    return _result(name, reference / ours, "reference / ours, higher is better", ours, reference, error, details)


def overhead(name: str, ours: float, reference: float, error: float | None, **details: Any) -> dict[str, Any]:
    """A result with the ratio ours / reference: how many times the reference's time ours takes."""
    return _result(name, ours / reference, "ours / reference, lower is better", ours, reference, error, details)


def max_abs_error(ours: Tensor, reference: Tensor) -> float:
    """Largest absolute difference between two tensors of the same shape."""
    return float((ours - reference.to(ours.device)).abs().max())


def on_gpu() -> dict[str, Any]:
    """The GPU's name and the most memory that torch has held on it so far; nothing where only the CPU computes."""
    if not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "peak_gpu_mib": round(torch.cuda.max_memory_allocated() / 2**20)}


def _result(
    name: str, ratio: float, meaning: str, ours: float, reference: float, error: float | None, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "ratio": round(ratio, 3),
        "ratio_is": meaning,
        "ours_s": round(ours, 6),
        "reference_s": round(reference, 6),
        "max_abs_error": error,
        "threads": torch.get_num_threads(),
        **on_gpu(),
        **details,
    }
