"""Where torch computes: the key ``device``, beside RecBole's ``gpu_id`` and ``use_gpu``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from recbole_aia.config.recbole_kinds import Described
from recbole_aia.errors import ConfigValueError, shown

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


def find_device(wanted: Any = "auto") -> torch.device:
    """The device that a value of the key ``device`` means.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``, or a ``torch.device``.

    Raises:
        ConfigValueError: the value is none of these, or torch does not see the GPU.
    """
    import torch

    name = str(wanted)
    DEVICE.check("device", name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device, seen = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= seen:
        what = f"{seen} of them, counted from 0" if seen else "no GPU"
        raise ConfigValueError(f"device is {shown(name)}, and torch sees {what}. Write --device=cpu.")
    return device
