"""Checkpoints are tensors and plain data; anything else is refused, because it could run code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from recbole_aia.errors import CheckpointError


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint, tensors on the CPU.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds more than plain data, as those do that
            RecBole writes by itself.
    """
    try:
        with warnings.catch_warnings():
            # That a pickle may not be readable is no news: it is refused below.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the checkpoint '{path}' cannot be read: {error.strerror}. Check the path.") from error
    except Exception as error:  # on a file of another kind, the unpickler stumbles over anything
        raise CheckpointError(
            f"the checkpoint '{path}' is damaged, or a pickle that could run code. Use one of recbole-aia's."
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"'{path}' is not a checkpoint: it has no 'state_dict'.")
    return state
