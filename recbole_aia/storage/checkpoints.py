"""Writes and reads checkpoints of tensors and plain data.

Checkpoints of ours are sealed, see :mod:`recbole_aia.storage.seal`. A pickle is refused unless the caller trusts it,
because loading it could run code. Weights that cannot be are refused whoever wrote them.
"""

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
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.plain import plain
from recbole_aia.storage.seal import SEAL, seal_of, sealed

#: The key under which checkpoints of ours say who their users and items are; see ``data/numbering.py``.
NUMBERING = "numbering"
_TORN = "Copy it again, or restore it from a backup"


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Writes a sealed checkpoint, whole or not at all; its tensors are on the CPU, so that any machine can read it."""
    content = sealed(_on_cpu(state))
    write_whole(path, lambda aside: torch.save(content, aside))


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {name: _on_cpu(each) for name, each in value.items()}
    return [_on_cpu(each) for each in value] if type(value) is list else value


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint; its tensors are on the CPU.

    Raises:
        CheckpointError: there is no such file, it is damaged, its weights cannot be, or it holds pickled objects, as
            RecBole's own checkpoints do.
    """
    _refuse_odd_file(Path(path))
    try:
        with warnings.catch_warnings():
            # torch warns of a pickle that it may not be able to read. The code below refuses it anyway.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unread(path, error) from error
    except Exception as error:  # the unpickler can raise any error on a file of another kind
        raise CheckpointError(
            f"the checkpoint '{path}' is damaged, or a pickle that could run code. Use one of recbole-aia's."
        ) from error
    return _checked(state, Path(path))


def checkpoint_file(path: Path) -> Path:
    """The checkpoint at ``path``, or the one in the run's folder ``path``."""
    return path / "checkpoint.pth" if path.is_dir() else path


def read_state(path: Path, trust_checkpoint: bool = False) -> dict[str, Any]:
    """Reads a checkpoint. With ``trust_checkpoint`` it may hold pickled objects, and loading these can run any code."""
    return _trusted(path) if trust_checkpoint else _plain(path)


def saved_values(state: Mapping[str, Any], path: str | Path) -> Mapping[str, Any]:
    """The values of the configuration in a checkpoint of ours or RecBole's.

    Raises:
        CheckpointError: the checkpoint has no configuration, or one that names no model and dataset.
    """
    saved = state.get("config")
    values = getattr(saved, "final_config_dict", saved)
    if not isinstance(values, Mapping) or not values.get("model"):
        raise CheckpointError(f"the checkpoint '{path}' does not say which configuration it was trained with.")
    folder = values.get("data_path")
    texts = [*values, values["model"], values.get("dataset"), "" if folder is None else folder]
    if not all(isinstance(text, str) for text in texts):
        raise CheckpointError(
            f"the configuration in the checkpoint '{path}' is not one of RecBole: model, dataset, data_path and all "
            "names of keys must be texts. Use the checkpoint as it was written."
        )
    return values


def plain_state(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The parts of a trusted checkpoint that bring its model back, as plain data that cannot run code."""
    others = (state.get("other_parameter") or {}).items()
    kept = {key: state[key] for key in ("best_valid_score", NUMBERING) if key in state}
    return {
        "config": plain(dict(saved_values(state, path))),
        "state_dict": dict(state["state_dict"]),
        "other_parameter": {key: value for key, value in others if isinstance(value, Tensor)},
        "unlearned": plain(state.get("unlearned", [])),
        **kept,
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
    _refuse_odd_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=False)  # nosec B614
    except OSError as error:
        raise _unread(path, error) from error
    except Exception as error:  # a pickle can raise any error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"the checkpoint '{path}' is damaged ({reason}). {_TORN}.") from error
    return _checked(state, path)


def _refuse_odd_file(path: Path) -> None:
    """Refuses pipes and devices, which may never end."""
    try:
        odd = path.exists() and not (path.is_file() or path.is_dir())
    except (OSError, ValueError):
        return  # opening it says what is wrong
    if odd:
        raise CheckpointError(f"the checkpoint '{path}' is no file but a pipe or a device. Check the path.")


def _unread(path: str | Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"the checkpoint '{path}' cannot be read: {error.strerror}. Check the path.")


def _checked(state: Any, path: Path) -> dict[str, Any]:
    """The content of a file that torch has read, if it is a checkpoint whose bytes and weights are in order."""
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"'{path}' is not a checkpoint: it has no 'state_dict'.")
    ours = SEAL in state or NUMBERING in state
    if not (state.get(SEAL) == seal_of(state) if ours else _checksums_agree(path)):
        raise CheckpointError(f"the checkpoint '{path}' is damaged: its checksum does not agree. {_TORN}.")
    weights, others = state["state_dict"], state.get("other_parameter")
    for part in (weights, {} if others is None else others):
        if not (isinstance(part, Mapping) and all(isinstance(name, str) for name in part)):
            raise CheckpointError(f"'{path}' is not a checkpoint: its parameters have no names. {_TORN}.")
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"'{path}' is not a checkpoint: its 'state_dict' holds something else than tensors.")
    for name, value in {**(others or {}), **weights}.items():
        if isinstance(value, Tensor):
            _refuse_impossible(value, name, path)
    return state


def _checksums_agree(path: Path) -> bool:
    """Whether each part of a checkpoint without a seal has the checksum that torch wrote beside it."""
    if not zipfile.is_zipfile(path):
        return True  # torch's oldest format has no checksums
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except (OSError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile):
        return False


def _refuse_impossible(value: Tensor, name: str, path: Path) -> None:
    if value.is_complex():
        raise CheckpointError(f"the weights '{name}' in '{path}' are complex numbers. Use another checkpoint.")
    if value.is_floating_point() and not torch.isfinite(value.to_dense() if value.is_sparse else value).all():
        raise CheckpointError(
            f"the weights '{name}' in '{path}' are not finite. Training has probably diverged: train with a lower "
            "learning_rate, or use another checkpoint."
        )
