"""RecBole's keys with the values that work, and the contradictions between them.

RecBole checks few of its values. A wrong one stops a run late, or not at all: ``metric_decimal_place: -1`` makes every
metric 0, and an interval that cannot be parsed filters nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from math import inf
from typing import Any

from recbole.utils import ModelType

from recbole_aia.config import recbole_kinds as kinds
from recbole_aia.config.keys import Choice, Count, Flag, Key, Number, Path, Text, check_values
from recbole_aia.config.recbole_kinds import Described
from recbole_aia.config.registry import known_keys
from recbole_aia.errors import ConfigValueError, shown

_PROTOCOL = (
    "like {split: {RS: [0.8, 0.1, 0.1]}, order: RO, group_by: user, mode: full}; split: RS or TS with three numbers "
    "> 0, or LS with valid_and_test; order: RO or TO; group_by: user or none; mode: full, labeled, uniN or popN with "
    "N >= 1"
)
_NEGATIVES = (
    "like {distribution: uniform, sample_num: 1}; distribution: uniform or popularity; sample_num >= 1; alpha: a "
    "number; dynamic: true or false, and true only with candidate_num >= 1"
)
_INTERVAL = 'an interval such as "[5,inf)", its lower end first'


def _name(default: Any = "x") -> Key:
    return Described(default, "", words="a name", test=kinds.is_name)


def _names(what: str) -> Key:
    return Described(None, "", words=f"a list of different {what}", test=kinds.are_names, form="list of str")


def _columns() -> Key:
    words = "like {inter: [user_id, item_id]}, or {inter: '*'} for all columns"
    return Described(None, "", words=words, test=kinds.are_columns, form="dict")


def _interval(default: Any = "[0,inf)") -> Key:
    return Described(default, "", words=_INTERVAL, test=kinds.is_interval)


def _flag(default: Any = True) -> Key:
    return Flag(default, "")


def _is_gpu(value: Any) -> bool:
    text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return not isinstance(value, bool) and (
        text in ("", "None") or all(part.strip().isdigit() for part in text.split(","))
    )


def _are_metrics(value: Any) -> bool:
    return kinds.is_name(value) or (kinds.are_names(value) and bool(value))


def _are_lengths(value: Any) -> bool:
    lengths = value if isinstance(value, list) else [value]
    return bool(lengths) and all(map(Count(1, "", low=1).accepts, lengths)) and len(set(lengths)) == len(lengths)


#: The keys that a run reads, whatever its model. Only the check reads a default: ``None`` allows null.
RECBOLE: dict[str, Key] = {
    # environment
    "gpu_id": Described(None, "", words="numbers of GPUs such as 0 or 0,1, or nothing for the CPU", test=_is_gpu),
    "worker": Count(0, "", high=1024),
    "use_gpu": _flag(),
    "seed": Count(0, "", high=2**32 - 1),
    "state": Described(
        "info", "", words="debug or info or warning or error or critical",
        test=lambda state: str(state).lower() in ("debug", "info", "warning", "error", "critical"),
    ),
    "reproducibility": _flag(),
    "data_path": Path("x", ""),
    "checkpoint_dir": Path("x", ""),
    "show_progress": _flag(),
    "save_dataset": _flag(None),
    "dataset_save_path": Path(None, ""),
    "save_dataloaders": _flag(None),
    "dataloaders_save_path": Path(None, ""),
    "log_wandb": _flag(None),
    "wandb_project": _name(None),
    "nproc": Count(1, "", low=1),
    # training
    "shuffle": _flag(),
    "epochs": Count(1, "", low=1),
    "train_batch_size": Count(1, "", low=1),
    "learner": Choice("adam", "", choices=("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")),
    "learning_rate": Number(0.1, "", low=0, above=True, high=1000),
    "train_neg_sample_args": Described(
        None, "", words=_NEGATIVES, test=lambda value: value == "None" or kinds.is_negative_sampling(value), form="dict"
    ),
    "eval_step": Count(1, "", low=1),
    "stopping_step": Count(1, ""),
    "clip_grad_norm": Described(
        None, "", words="like {max_norm: 5.0, norm_type: 2}, max_norm > 0", test=kinds.is_clipping, form="dict"
    ),
    "weight_decay": Number(0.0, "", low=0, high=1000),
    "loss_decimal_place": Count(4, "", low=1, high=18),
    "require_pow": _flag(),
    "enable_amp": _flag(),
    "enable_scaler": _flag(),
    "transform": Choice(
        None, "", choices=("mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq", "user_defined")
    ),
    "inter_matrix_type": Choice("01", "", choices=("01", "rating")),
    "embedding_size": Count(64, "", low=1, high=65_536),
    # evaluation
    "eval_args": Described({}, "", words=_PROTOCOL, test=kinds.is_protocol, form="dict"),
    "repeatable": _flag(),
    "metrics": Described([], "", words="metrics, each once, such as [NDCG,Hit]", test=_are_metrics, form="list of str"),
    "topk": Described([], "", words="whole numbers >= 1, each once, such as [10]", test=_are_lengths, form="list"),
    "valid_metric": Described("", "", words="a metric such as NDCG@10", test=kinds.is_name),
    "eval_batch_size": Count(1, "", low=1),
    "metric_decimal_place": Count(4, "", low=1, high=18),
    # data
    "field_separator": Described("", "", words="one character", test=kinds.is_separator),
    "seq_separator": Described("", "", words="one character", test=kinds.is_separator),
    "encoding": Described(None, "", words="a text encoding such as utf-8 or gbk", test=kinds.is_encoding),
    "USER_ID_FIELD": _name(),
    "ITEM_ID_FIELD": _name(),
    "RATING_FIELD": _name(None),
    "TIME_FIELD": _name(),
    "LABEL_FIELD": _name(),
    "NEG_PREFIX": _name(),
    "seq_len": Described(
        None, "", words="like {field: 10}", test=lambda value: isinstance(value, dict), form="dict"
    ),
    "threshold": Described(
        None, "", words="one field and a number, such as {rating: 4}", test=kinds.is_threshold, form="dict"
    ),
    "numerical_features": _names("fields"),
    "load_col": _columns(),
    "unload_col": _columns(),
    "unused_col": _columns(),
    "additional_feat_suffix": Described(
        None, "", words="a suffix or a list of them", test=_are_metrics, form="list of str"
    ),
    "rm_dup_inter": Choice(None, "", choices=("first", "last")),
    "val_interval": Described(
        None, "", words="like {timestamp: '[0,inf)'}, or {field: [a, b]} for values that stay",
        test=kinds.are_filters, form="dict",
    ),
    "filter_inter_by_user_or_item": _flag(None),
    "user_inter_num_interval": _interval(None),
    "item_inter_num_interval": _interval(None),
    "alias_of_user_id": _names("fields"),
    "alias_of_item_id": _names("fields"),
    "preload_weight": Described(
        None, "", words="like {id_field: value_field}", test=lambda value: isinstance(value, dict), form="dict"
    ),
    "normalize_field": _names("fields"),
    "normalize_all": _flag(None),
    "benchmark_filename": Described(
        None, "", words="three different suffixes, such as [train, valid, test]",
        test=lambda value: kinds.are_names(value) and len(value) == 3, form="list of str",
    ),
    "MAX_ITEM_LIST_LENGTH": Count(50, "", low=1),
    "model": Text("x", "", what="a model's name"),
    "dataset": Described("x", "", words="a dataset's name", test=lambda name: kinds.is_name(name) and "/" not in name),
}  # fmt: skip


def of_model(name: str, default: Any) -> Key | None:
    """The declaration of a model's key: by its name, or by the type of the model's default; ``None`` for any value."""
    if name.endswith("embedding_size"):
        return RECBOLE["embedding_size"]
    if name in ("n_layers", "num_layers"):
        return Count(default, "", low=1 if name == "num_layers" else 0, high=256)
    if isinstance(default, bool):
        return _flag(default)
    low = 0 if isinstance(default, int | float) and default >= 0 else -inf
    if isinstance(default, float):
        return Number(default, "", low=low, high=1 if "dropout" in name else inf)
    if isinstance(default, int):
        return Count(default, "") if low == 0 else None
    return _of_collection(default) if isinstance(default, list | dict) else None


def _of_collection(default: list[Any] | dict[str, Any]) -> Key:
    if isinstance(default, list) and default and all(isinstance(each, int) for each in default):
        words = f"whole numbers >= 1, such as {default}"
        return Described(default, "", words=words, test=_are_sizes, form="list of int")
    words = f"a {'list' if isinstance(default, list) else 'mapping'}, such as {default}"
    return Described(default, "", words=words, test=lambda value: isinstance(value, type(default)))


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(Count(1, "", low=1, high=65_536).accepts, value))


def sequential_without_negatives(values: Mapping[str, Any]) -> bool:
    """Whether a model learns from sequences with a loss that takes no negatives."""
    return values.get("MODEL_TYPE") == ModelType.SEQUENTIAL and values.get("loss_type") == "CE"


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
    declared = {name: RECBOLE.get(name) or of_model(name, defaults.get(name)) for name in given if name not in ours}
    check_values(given, {name: key for name, key in declared.items() if key is not None})
    roles = [key for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "LABEL_FIELD") if values.get(key)]
    for place, key in enumerate(roles):
        for other in roles[:place]:
            if values[key] == values[other]:
                raise ConfigValueError(f"{other} and {key} are both '{values[key]}'. Name two different columns.")
    if given.get("normalize_field") and given.get("normalize_all"):
        raise ConfigValueError("normalize_field and normalize_all are both given. Leave one out.")
    columns, hidden = given.get("load_col"), given.get("unload_col")
    both = sorted(set(columns or ()) & set(hidden or ()))
    if both:
        raise ConfigValueError(f"load_col and unload_col both name columns of {both[0]}. Keep one of them.")
    if given.get("nproc", 1) > 1 and "local_rank" not in given:
        raise ConfigValueError(f"nproc is {given['nproc']}, and a run trains in one process. Leave it out.")
    if given.get("log_wandb") and importlib.util.find_spec("wandb") is None:
        raise ConfigValueError("log_wandb needs the package wandb. Type: pip install wandb")
    _check_splits(values.get("eval_args"))


def _check_splits(protocol: Any) -> None:
    """Refuses a protocol that leaves no interaction to validate or to test."""
    split = protocol.get("split") if isinstance(protocol, Mapping) else None
    only = split.get("LS") if isinstance(split, Mapping) else None
    if only in ("valid_only", "test_only"):
        empty = "test" if only == "valid_only" else "validation"
        raise ConfigValueError(
            f"eval_args.split is {{LS: {only}}}, which leaves the {empty} part empty. Write {{LS: valid_and_test}}."
        )


def check_device(config: Any, typed: Mapping[str, Any]) -> str | None:
    """Refuses a device on the command line that is not there.

    Args:
        config: the finished configuration, whose ``device`` RecBole has chosen.
        typed: the values on the command line.

    Returns:
        A warning where another source, such as a config file from another machine, names a GPU that is not there.

    Raises:
        ConfigValueError: ``gpu_id`` or ``device`` on the command line name a device that is not there.
    """
    found, gpu = str(config["device"]), str(config["gpu_id"])
    wanted = config.external_config_dict.get("device")
    if wanted is not None and str(wanted).partition(":")[0] != found.partition(":")[0]:
        raise ConfigValueError(
            f"device is {shown(str(wanted))}, and this run computes on {found}. Leave it out, and choose with gpu_id: "
            "its number, or --gpu_id= for the CPU."
        )
    if found != "cpu" or gpu in ("", "None", "0"):  # 0 is RecBole's default, with or without a GPU
        return None
    if "gpu_id" in typed:
        raise ConfigValueError(f"gpu_id is {gpu}, and torch sees no such GPU. Write --gpu_id= for the CPU.")
    return f"gpu_id is {gpu}, and torch sees no such GPU: the CPU computes."
