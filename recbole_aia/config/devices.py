"""Where torch computes: the key ``device``, beside RecBole's ``gpu_id`` and ``use_gpu``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recbole_aia.config.recbole_kinds import Described
from recbole_aia.errors import ConfigValueError, DeviceMemoryError, shown
from recbole_aia.launch import Place

if TYPE_CHECKING:
    import torch


def _is_device(value: Any) -> bool:
    return bool(re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", str(value)))


#: The declaration of the key. A configuration that is built holds a ``torch.device`` there, whose text is accepted too.
DEVICE = Described(
    "auto",
    "Where to compute. auto: the first GPU that torch sees, or the one that gpu_id names; without a GPU the CPU.",
    "presentation",
    words="auto, cpu, cuda or cuda:<number>",
    test=_is_device,
    form="auto | cpu | cuda | cuda:<number>",
)


def find_device(wanted: Any = "auto", among: Place | None = None) -> torch.device:
    """The device that a value of the key ``device`` means.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``, or a ``torch.device``.
        among: the place of this process among several, each of which has a GPU of its own: its number on this machine.

    Raises:
        ConfigValueError: the value is none of these, or torch does not see the GPU.
    """
    import torch

    name = str(wanted)
    DEVICE.check("device", name)
    seen = torch.cuda.device_count()
    if among is not None and among.count > 1 and (name == "cuda" or (name == "auto" and seen)):
        name = f"cuda:{among.local}"
    if name == "auto":
        return torch.device("cuda" if seen else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= seen:
        what = f"{seen} of them, counted from 0" if seen else "no GPU"
        raise ConfigValueError(f"device is {shown(name)}, and torch sees {what}. Write --device=cpu.")
    return device


@contextmanager
def device_memory(what: str, key: str) -> Iterator[None]:
    """Turns torch's error of a full GPU into one line; also serves as a decorator.

    Args:
        what: what is done inside, as the message names it, such as ``the training``.
        key: the key that needs less memory when it is lower, such as ``train_batch_size``.

    Raises:
        DeviceMemoryError: the GPU's memory is full.
    """
    try:
        yield
    except RuntimeError as error:
        if not memory_is_full(error):
            raise
        raise DeviceMemoryError(
            f"the GPU's memory is too small for {what}. Lower {key}, or add --device=cpu."
        ) from error


def memory_is_full(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory is full; CUDA's libraries have their own words for it."""
    text = str(error)
    return ("CUDA" in text and "out of memory" in text) or "CUBLAS_STATUS_ALLOC_FAILED" in text
