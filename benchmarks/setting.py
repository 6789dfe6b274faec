"""Data and models of the benchmarks: generated interactions of MovieLens-1M's size, the same every time."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed

from recbole_aia import AIAConfig
from recbole_aia.config.devices import find_device
from recbole_aia.data import create_dataset, prepare_loaders
from recbole_aia.data.synthetic import generate, write
from recbole_aia.model import build_model, scores_users


@dataclass(frozen=True)
class Shape:
    """Size of a dataset."""

    users: int
    items: int
    interactions: int


ML1M = Shape(6040, 3706, 1_000_209)
SMALL = Shape(2000, 1500, 120_000)

#: The settings of every benchmark; a benchmark can override them.
VALUES: dict[str, Any] = {
    "device": "auto",
    "show_progress": False,
    "state": "warning",
    "train_batch_size": 2048,
    "eval_batch_size": 4096,
    "embedding_size": 64,
    "n_layers": 2,
    "hidden_size_list": [64, 64],
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False},
}


@functools.cache
def folder(shape: Shape) -> str:
    """The folder with the files of a shape: made by the parent process, or made now until this process ends."""
    if given := os.environ.get(_variable(shape)):
        return given
    place = tempfile.TemporaryDirectory(prefix="recbole-aia-")
    _PLACES.append(place)
    write(generate(shape.users, shape.items, shape.interactions), Path(place.name))
    return place.name


_PLACES: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def prepared(shape: Shape) -> Iterator[None]:
    """Inside, new processes find the files of a shape ready, so that their peak memory does not include making them."""
    with tempfile.TemporaryDirectory(prefix="recbole-aia-") as place:
        write(generate(shape.users, shape.items, shape.interactions), Path(place))
        os.environ[_variable(shape)] = place
        try:
            yield
        finally:
            del os.environ[_variable(shape)]


def _variable(shape: Shape) -> str:
    return f"RECBOLE_AIA_BENCHMARK_{shape.users}_{shape.items}_{shape.interactions}"


@contextmanager
def apart() -> Iterator[None]:
    """Inside, the working directory is a temporary one, because RecBole's trainers write TensorBoard files there."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            yield
        finally:
            os.chdir(home)


def device() -> torch.device:
    """Where the benchmarks compute."""
    return find_device(VALUES["device"])


def config(model: str, shape: Shape, **values: Any) -> AIAConfig:
    """The configuration of a benchmark: :data:`VALUES` with ``values`` over them."""
    settings = {**VALUES, "data_path": folder(shape), **values}
    return AIAConfig(model, "synthetic", config_dict={"checkpoint_dir": folder(shape), **settings}, argv=[])


@functools.cache
def _dataset(shape: Shape) -> Any:
    return create_dataset(config("BPR", shape))


def loaders(settings: AIAConfig, shape: Shape) -> tuple[Any, Any, Any]:
    """The training, validation and test loaders."""
    init_seed(settings["seed"], True)
    dataset = copy.deepcopy(_dataset(shape))
    dataset.config = settings
    return prepare_loaders(settings, dataset, scores_users=scores_users(settings))


def fast_and_stock(model: str, shape: Shape, **values: Any) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    """The same model in our version and in RecBole's, with equal weights, and RecBole's loaders."""
    stock_settings = config(model, shape, fast=False, **values)
    data = loaders(stock_settings, shape)
    models = []
    for settings in (config(model, shape, **values), stock_settings):
        init_seed(settings["seed"], True)
        models.append(build_model(settings, data[0].dataset))
    return models[0], models[1], data
