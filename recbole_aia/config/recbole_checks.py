"""Checks the values of RecBole's keys and of a model's keys: each by its declaration, and against each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import recbole
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, ModelType

from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.keys import Count, Flag, Key, Number, check_values
from recbole_aia.config.recbole_keys import RECBOLE
from recbole_aia.config.recbole_kinds import Described
from recbole_aia.config.registry import known_keys
from recbole_aia.errors import ConfigValueError


def of_model(name: str, default: Any, linear: bool = False) -> Key | None:
    """The declaration of a model's key: by its name, or by the type of the model's default; ``None`` for any value.

    Args:
        name: of the key.
        default: the model's.
        linear: whether the model works without hidden layers, so that their list may be empty.
    """
    if name.endswith("embedding_size"):
        return RECBOLE["embedding_size"]
    if name in ("n_layers", "num_layers"):
        return Count(default, "", low=1 if name == "num_layers" else 0, high=256)
    if isinstance(default, bool):
        return Flag(default, "")
    low = 0 if isinstance(default, int | float) and default >= 0 else -inf
    if isinstance(default, float):
        return Number(default, "", low=low, high=1 if "dropout" in name else inf)
    if isinstance(default, int):
        return Count(default, "") if low == 0 else None
    return _of_collection(default, linear) if isinstance(default, list | dict) else None


def _of_collection(default: list[Any] | dict[str, Any], linear: bool) -> Key:
    if isinstance(default, list) and default and all(isinstance(each, int) for each in default):
        words = f"whole numbers >= 1, such as {default}"
        test = (lambda value: value == [] or _are_sizes(value)) if linear else _are_sizes
        return Described(default, "", words=words, test=test, form="list of int")
    words = f"a {'list' if isinstance(default, list) else 'mapping'}, such as {default}"
    return Described(default, "", words=words, test=lambda value: isinstance(value, type(default)))


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(Count(1, "", low=1, high=65_536).accepts, value))


def is_key_of_a_model(name: str) -> bool:
    """Whether a model of RecBole's has a key of this name; a config file may serve several models."""
    files = (Path(recbole.__file__).parent / "properties" / "model").glob("*.yaml")
    return any(f"\n{name}:" in f"\n{file.read_text(encoding='utf-8')}" for file in files)


def sequential_without_negatives(values: Mapping[str, Any]) -> bool:
    """Whether a model learns from sequences with a loss that takes no negatives."""
    return values.get("MODEL_TYPE") == ModelType.SEQUENTIAL and values.get("loss_type") == "CE"


def takes_no_negatives(asked: Any) -> bool:
    """Whether settings of negatives in training name no distribution to draw them from."""
    return isinstance(asked, Mapping) and asked.get("distribution", "uniform") in (None, "None", "none")


def check_recbole(values: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuses values of RecBole's keys that cannot work, alone or together.

    Args:
        values: all values of a configuration, by key, as RecBole reads them.
        given: the values that are not defaults.
        defaults: the defaults of RecBole, of the model and of the dataset.

    Raises:
        ConfigValueError: a value is not allowed, two contradict each other, or a package is missing.
    """
    ours = known_keys()
    linear = "latent_dimension" in defaults  # autoencoders may do without hidden layers
    declared = {
        name: RECBOLE.get(name) or of_model(name, defaults.get(name), linear) for name in given if name not in ours
    }
    check_values(given, {name: key for name, key in declared.items() if key is not None})
    roles = [key for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "LABEL_FIELD") if values.get(key)]
    for place, key in enumerate(roles):
        for other in roles[:place]:
            if values[key] == values[other]:
                raise ConfigValueError(f"{other} and {key} are both '{values[key]}'. Name two different columns.")
    if given.get("normalize_field") and given.get("normalize_all"):
        raise ConfigValueError("normalize_field and normalize_all are both given. Leave one out.")
    negatives = values.get("train_neg_sample_args") or {}
    if negatives.get("dynamic") and not negatives.get("candidate_num"):
        raise ConfigValueError(
            "train_neg_sample_args.dynamic is true without candidate_num. Write candidate_num: 5, say."
        )
    columns, hidden = given.get("load_col"), given.get("unload_col")
    both = sorted(set(columns or ()) & set(hidden or ()))
    if both:
        raise ConfigValueError(f"load_col and unload_col both name columns of {both[0]}. Keep one of them.")
    if given.get("nproc", 1) > 1 and "local_rank" not in given:
        raise ConfigValueError(
            f"nproc is {given['nproc']}, which starts processes on the command line alone: "
            "recbole-aia run --nproc=2. Leave it out here."
        )
    if given.get("log_wandb") and importlib.util.find_spec("wandb") is None:
        raise ConfigValueError("log_wandb needs the package wandb. Type: pip install wandb")
    _check_splits(values["eval_args"])
    _check_metrics(values["metrics"], values["eval_args"].get("mode", "full"))


def _check_splits(protocol: Mapping[str, Any]) -> None:
    """Refuses a protocol that leaves no interaction to validate or to test."""
    only = protocol.get("split", {}).get("LS")
    if only in ("valid_only", "test_only"):
        empty = "test" if only == "valid_only" else "validation"
        raise ConfigValueError(
            f"eval_args.split is {{LS: {only}}}, which leaves the {empty} part empty. Write {{LS: valid_and_test}}."
        )


def _check_metrics(metrics: str | list[str], mode: str | Mapping[str, str]) -> None:
    """Refuses metrics that are unknown, of two kinds, or not computed from what ``eval_args.mode`` ranks."""
    named = [metrics] if isinstance(metrics, str) else metrics
    for name in named:
        if name.lower() not in metric_types:
            meant = did_you_mean(name.lower(), metric_types)
            raise ConfigValueError(f"RecBole has no metric '{name}'.{meant} It has {', '.join(sorted(metric_types))}.")
    ranked = [name for name in named if metric_types[name.lower()] == EvaluatorType.RANKING]
    of_labels = [name for name in named if name not in ranked]
    if ranked and of_labels:
        raise ConfigValueError(
            f"metrics has {ranked[0]}, which ranks items, and {of_labels[0]}, which needs labels. Choose one kind."
        )
    if of_labels and "full" in ([mode] if isinstance(mode, str) else mode.values()):
        raise ConfigValueError(f"{of_labels[0]} needs labels, and eval_args.mode is full. Write mode: labeled.")


def check_device(config: Any, typed: Mapping[str, Any]) -> str | None:
    """Refuses a ``gpu_id`` on the command line that is not there.

    Args:
        config: the finished configuration, whose ``device`` is chosen.
        typed: the values on the command line.

    Returns:
        A warning where another source, such as a config file from another machine, names a GPU that is not there.

    Raises:
        ConfigValueError: ``gpu_id`` on the command line names a GPU that is not there.
    """
    chosen, gpu = str(config.external_config_dict.get("device", "auto")), str(config["gpu_id"])
    # 0 is RecBole's default, with or without a GPU.
    if str(config["device"]) != "cpu" or chosen != "auto" or not config["use_gpu"] or gpu in ("", "None", "0"):
        return None
    if "gpu_id" in typed:
        raise ConfigValueError(f"gpu_id is {gpu}, and torch sees no such GPU. Write --gpu_id= for the CPU.")
    return f"gpu_id is {gpu}, and torch sees no such GPU: the CPU computes."
