"""Reads checkpoints of tensors and plain data; refuses any other checkpoint, because loading it could run code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_aia.errors import CheckpointError
from recbole_aia.storage.plain import plain


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint; its tensors are on the CPU.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds pickled objects, as RecBole's own
            checkpoints do.
    """
    try:
        with warnings.catch_warnings():
            # torch warns of a pickle that it may not be able to read. The code below refuses it anyway.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the checkpoint '{path}' cannot be read: {error.strerror}. Check the path.") from error
    except Exception as error:  # the unpickler can raise any error on a file of another kind
        raise CheckpointError(
            f"the checkpoint '{path}' is damaged, or a pickle that could run code. Use one of recbole-aia's."
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"'{path}' is not a checkpoint: it has no 'state_dict'.")
    return state


def checkpoint_file(path: Path) -> Path:
    """The checkpoint at ``path``, or the one in the run's folder ``path``."""
    return path / "checkpoint.pth" if path.is_dir() else path


def read_state(path: Path, trust_checkpoint: bool = False) -> dict[str, Any]:
    """Reads a checkpoint. With ``trust_checkpoint`` it may hold pickled objects, and loading these can run any code."""
    return _trusted(path) if trust_checkpoint else _plain(path)


def saved_values(state: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The values of the configuration in a checkpoint of ours or RecBole's.

    Raises:
        CheckpointError: the checkpoint has no configuration.
    """
    saved = state.get("config")
    values = getattr(saved, "final_config_dict", saved)
    if not isinstance(values, Mapping) or not values.get("model"):
        raise CheckpointError(f"the checkpoint '{path}' does not say which configuration it was trained with.")
    return values


def plain_state(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The parts of a trusted checkpoint that bring its model back, as plain data that cannot run code."""
    others = (state.get("other_parameter") or {}).items()
    return {
        "config": plain(dict(saved_values(state, path))),
        "state_dict": dict(state["state_dict"]),
        "other_parameter": {key: value for key, value in others if isinstance(value, Tensor)},
        "unlearned": plain(state.get("unlearned", [])),
    }


def _plain(path: Path) -> dict[str, Any]:
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise CheckpointError(
                f"the checkpoint '{path}' holds pickled objects, as RecBole's own checkpoints do, and loading those "
                "can run any code that somebody put there. If you trust its origin, add --trust_checkpoint."
            ) from error
        raise


def _trusted(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=False)  # nosec B614
    except OSError as error:
        raise CheckpointError(f"the checkpoint '{path}' cannot be read: {error.strerror}. Check the path.") from error
    except Exception as error:  # a pickle can raise any error
        raise CheckpointError(f"the checkpoint '{path}' is damaged ({type(error).__name__}: {error}).") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"'{path}' is not a checkpoint: it has no 'state_dict'.")
    return state
