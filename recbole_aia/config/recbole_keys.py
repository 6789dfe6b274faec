"""RecBole's keys with the values that work; :mod:`~recbole_aia.config.recbole_checks` has the contradictions.

RecBole checks few of its values. A wrong one stops a run late, or not at all: ``metric_decimal_place: -1`` makes every
metric 0, and an interval that cannot be parsed filters nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import Any

from recbole_aia.config import recbole_kinds as kinds
from recbole_aia.config.keys import Choice, Count, Flag, Key, Number, Path, Text
from recbole_aia.config.recbole_kinds import Described, Nested

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


def _is_file_name(value: Any) -> bool:
    return kinds.is_name(value) and "/" not in value and len(os.fsencode(value)) <= 200


def _of(default: Any, words: str, test: Callable[[Any], bool]) -> Key:
    return Described(default, "", words=words, test=test)


_NONE = (None, "None", "none")
_PROTOCOL = Nested(
    {}, "",
    entries={
        "split": _of({}, "RS or TS with three numbers > 0, or LS with valid_and_test", kinds.is_split),
        "order": Choice("RO", "", choices=("RO", "TO")),
        "group_by": _of(None, "user or none", lambda group: group in (*_NONE, "user")),
        "mode": _of("full", "full, labeled, uniN or popN with N >= 1, or such for valid and test", kinds.is_mode),
    },
)  # fmt: skip
_NEGATIVES = Nested(
    None, "",
    entries={
        "distribution": _of(None, "uniform or popularity", lambda name: name in (*_NONE, "uniform", "popularity")),
        "sample_num": _of(
            None, "a whole number >= 1", lambda count: count in _NONE or Count(1, "", low=1, high=10_000).accepts(count)
        ),
        "alpha": _of(None, "a number", lambda power: power in _NONE or Number(1, "").accepts(power)),
        "dynamic": _flag(False),
        "candidate_num": Count(0, "", high=10_000),
    },
)  # fmt: skip
_CLIPPING = Nested(
    None, "", needed=("max_norm",),
    entries={
        "max_norm": Number(1, "", low=0, above=True),
        "norm_type": _of(
            2, "a number > 0, or inf", lambda norm: norm == inf or Number(2, "", low=0, above=True).accepts(norm)
        ),
        "error_if_nonfinite": _flag(False),
    },
)  # fmt: skip

#: The keys that a run reads, whatever its model. Only the check reads a default: ``None`` allows null.
RECBOLE: dict[str, Key] = {
    # environment
    "gpu_id": Described(None, "", words="numbers of GPUs such as 0 or 0,1, or nothing for the CPU", test=_is_gpu),
    "worker": Count(0, "", high=128),
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
    "learner": Choice("adam", "", choices=("adam", "adamw", "sgd", "adagrad", "rmsprop")),
    "learning_rate": Number(0.1, "", low=0, above=True, high=1000),
    "train_neg_sample_args": _NEGATIVES,
    "eval_step": Count(1, "", low=1),
    "stopping_step": Count(1, ""),
    "clip_grad_norm": _CLIPPING,
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
    "eval_args": _PROTOCOL,
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
    "dataset": Described("x", "", words="a dataset's name, at most 200 bytes long", test=_is_file_name),
}  # fmt: skip
