"""Runs on disk: what of a configuration is kept, and a trained model brought back."""

from __future__ import annotations

import copy
import pickle
import platform
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.utils import init_seed
from torch import Tensor, nn

from recbole_aia._typing import FloatArray
from recbole_aia.checkpoint import load_checkpoint
from recbole_aia.compat import plain
from recbole_aia.config import AIAConfig
from recbole_aia.data import create_dataset
from recbole_aia.errors import CheckpointError, ConfigValueError
from recbole_aia.evaluator import AttackReport
from recbole_aia.model import UserEmbeddingView, build_model, restore, view_class
from recbole_aia.model.exposures import OF_VECTORS, expose, interaction_matrix, ranked_items
from recbole_aia.text import to_yaml
from recbole_aia.version import __version__

# What RecBole derives from other keys; it is not read back.
_DERIVED = {
    "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "device", "single_spec", "local_rank", "valid_metric_bigger",
    "valid_neg_sample_args", "test_neg_sample_args",
}  # fmt: skip
_VERSIONS = ("recbole", "torch", "numpy", "scipy", "pandas", "scikit-learn", "xgboost", "POT")


class LoadedRun(NamedTuple):
    """A run brought back.

    Attributes:
        config: its configuration.
        dataset: its dataset as created, all interactions; splitting it needs a copy.
        model: the trained model, in evaluation mode; ``model.unlearned`` records what was unlearnt in it.
        training: the dataset of its training split.
    """

    config: AIAConfig
    dataset: Any
    model: nn.Module
    training: Any

    def predictions(self, k: int = 10) -> Predictions:
        """What the model recommends to every user; what a user was trained on is not recommended again.

        Args:
            k: items of a list, >= 1.

        Raises:
            AttributeDataError: the model's scores are not finite.
        """
        items, scores = ranked_items(UserEmbeddingView(self.model), interaction_matrix(self.training), k)
        names = self.dataset.field2id_token
        users = np.asarray(names[self.dataset.uid_field][1:], dtype=np.str_)
        tokens = np.asarray(names[self.dataset.iid_field][1:], dtype=np.str_)[items]
        return Predictions(users, np.where(np.isfinite(scores), tokens, ""), scores)


class Predictions(NamedTuple):
    """Recommendation lists of all users, best first.

    Attributes:
        users: original ids, ``[n]``.
        items: original ids, ``[n, k]``; empty where there is nothing left to recommend.
        scores: logits, ``[n, k]``; ``-inf`` where there is nothing left.
    """

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    scores: FloatArray


def load_run(
    path: str | Path,
    *,
    trust_checkpoint: bool = False,
    config_file_list: Sequence[str | Path] = (),
    argv: Sequence[str] = (),
) -> LoadedRun:
    """Brings back the configuration, the dataset and the model of a run, which then gives its predictions.

    Args:
        path: a run's folder, or a checkpoint: recbole-aia's, or RecBole's own with ``trust_checkpoint``.
        trust_checkpoint: whether a checkpoint may hold pickled objects, which can run any code when they are loaded.
        config_file_list: YAML files that win over the configuration in the checkpoint; for data that have moved, say.
        argv: ``--key=value`` arguments that win over both.

    Raises:
        CheckpointError: a checkpoint that cannot be read, is not trusted, or does not fit its configuration.
        AIAError: the dataset is not there, or the model has no view.
    """
    path = checkpoint_file(Path(path))
    state = read_state(path, trust_checkpoint)
    return bring_back(state, path, saved_config(state, path, config_file_list, argv))


def checkpoint_file(path: Path) -> Path:
    """A checkpoint, or that in a run's folder."""
    return path / "checkpoint.pth" if path.is_dir() else path


def read_state(path: Path, trust_checkpoint: bool = False) -> dict[str, Any]:
    """Reads a checkpoint; see :func:`load_run`."""
    return _trusted(path) if trust_checkpoint else _plain(path)


def saved_config(
    state: Mapping[str, Any],
    path: Path,
    config_file_list: Sequence[str | Path] = (),
    argv: Sequence[str] = (),
    without: Collection[str] = (),
) -> AIAConfig:
    """The configuration in a checkpoint, but for the keys ``without``; see :func:`load_run`."""
    values = {key: value for key, value in kept_values(_saved_values(state, path)).items() if key not in without}
    with tempfile.TemporaryDirectory() as folder:
        # A file, because texts in a config_dict are parsed, and a tab is a separator that must stay.
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(values), encoding="utf-8")
        return AIAConfig(config_file_list=[file, *config_file_list], argv=argv)


def bring_back(state: Mapping[str, Any], path: Path, config: AIAConfig) -> LoadedRun:
    """The run of a checkpoint and its configuration; see :func:`load_run`."""
    view_class(config.model_class)
    dataset = create_dataset(config)
    # The run's own seed: another one, given for an attack, would split the data elsewhere.
    training = training_split(config, dataset, _saved_values(state, path).get("seed", config["seed"]))
    return LoadedRun(config, dataset, restored_model(config, training, state, path), training)


def plain_state(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What of a trusted checkpoint is needed to bring it back, without anything that could run code."""
    others = (state.get("other_parameter") or {}).items()
    return {
        "config": plain(dict(_saved_values(state, path))),
        "state_dict": dict(state["state_dict"]),
        "other_parameter": {key: value for key, value in others if isinstance(value, Tensor)},
        "unlearned": plain(state.get("unlearned", [])),
    }


def _saved_values(state: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    saved = state.get("config")
    values = getattr(saved, "final_config_dict", saved)
    if not isinstance(values, Mapping) or not values.get("model"):
        raise CheckpointError(f"the checkpoint '{path}' does not say which configuration it was trained with.")
    return values


def training_split(config: Any, dataset: Any, seed: int) -> Any:
    """The training interactions of a run, as its training has seen them.

    Args:
        config: the run's configuration.
        dataset: the dataset as created; it is copied, because splitting it changes it.
        seed: of the training.
    """
    init_seed(seed, config["reproducibility"])
    return copy.deepcopy(dataset).build()[0]


def restored_model(config: Any, training: Any, state: Mapping[str, Any], path: Path) -> nn.Module:
    """The model of a checkpoint, in evaluation mode.

    Args:
        config: its configuration.
        training: the training split.
        state: the checkpoint, read.
        path: where it was read from, for the error.

    Raises:
        CheckpointError: it does not fit.
    """
    model = build_model(config, training)
    restore(model, state, path)
    return model.eval()


def exposed(names: Sequence[str], config: Any, model: nn.Module, training: Any) -> dict[str, FloatArray]:
    """Those exposures that are more than vectors, by name; see :func:`~recbole_aia.model.exposures.expose`.

    Recommendation lists are as long as the longest that is evaluated (``topk``).
    """
    return {
        name: expose(name, model, training, k=max(config["topk"]), seed=config["seed"])
        for name in names
        if name not in OF_VECTORS
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
        state = torch.load(path, map_location="cpu", weights_only=False)
    except OSError as error:
        raise CheckpointError(f"the checkpoint '{path}' cannot be read: {error.strerror}. Check the path.") from error
    except Exception as error:  # a pickle can raise anything
        raise CheckpointError(f"the checkpoint '{path}' is damaged ({type(error).__name__}: {error}).") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"'{path}' is not a checkpoint: it has no 'state_dict'.")
    return state


def kept_values(config_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a configuration from which it can be built again.

    Args:
        config_dict: a configuration's ``final_config_dict``, of ours or RecBole's.
    """
    values = {key: value for key, value in plain(dict(config_dict)).items() if key not in _DERIVED}
    if values["dataset"] == "ml-100k":
        values.pop("data_path", None)
    elif values.get("data_path"):
        # RecBole appends the dataset's name when it reads the key.
        values["data_path"] = str(Path(values["data_path"]).parent)
    return values


def findings(report: AttackReport, activity: np.ndarray | None) -> dict[str, Any]:
    """What a report says beyond its rows: a part of results.json.

    Args:
        report: of one state, or of both.
        activity: interactions of each user, ``[n_users]``; ``None`` where they are not known.
    """
    return {"comparisons": report.comparisons(), "who_leaks": report.who_leaks(activity)}


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of what it computes with: a part of results.json."""
    return {
        "python": platform.python_version(),
        "recbole-aia": __version__,
        **{name: package_version(name) or "unknown" for name in _VERSIONS},
    }


def package_version(name: str) -> str | None:
    """The version of a package; ``None`` where it is not installed.

    A module that comes with a distribution of another name, as xgboost does with xgboost-cpu, has that one's.
    """
    with suppress(PackageNotFoundError):
        return version(name)
    # Looks through all that is installed: not for every package.
    for distribution in packages_distributions().get(name, ()):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None


def make_folder(folder: Path, keys: str = "--output_dir") -> None:
    """Makes a folder and sees that it can be written to.

    Raises:
        ConfigValueError: it cannot; ``keys`` in the message say what to change.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigValueError(f"cannot write to '{folder}': {error.strerror}. Give another {keys}.") from error
