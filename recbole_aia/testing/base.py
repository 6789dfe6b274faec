"""What the contract suites stand on: ml-100k, short configurations, and a folder for each test."""

from __future__ import annotations

import copy
import functools
import sys
from pathlib import Path
from typing import Any, TypeVar

import pytest

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset

Given = TypeVar("Given")
_EVALUATED = 2**18  # scores at once: RecBole's default takes ml-100k's users two by two


class Contract:
    """Lets each test of a suite run in a temporary folder, with no command line for RecBole to read."""

    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(sys, "argv", ["pytest"])
        monkeypatch.chdir(tmp_path)


def required(given: Given | None, suite: type, line: str) -> Given:
    """What a suite is about; says which line is missing where nothing is given."""
    if given is None:
        raise TypeError(f"{suite.__qualname__} does not say what it tests. Write {line} in it.")
    return given


def short_config(model: Any, folder: Path, **values: Any) -> AIAConfig:
    """A configuration on ml-100k, on the device that torch sees, that is quiet and writes below a folder.

    Args:
        model: a model's class, or the name of one.
        folder: for whatever the run writes.
        **values: further values by key.
    """
    quiet = {"show_progress": False, "checkpoint_dir": str(folder / "saved"), "epochs": 1}
    quiet["eval_batch_size"] = _EVALUATED
    return AIAConfig(model, "ml-100k", config_dict={**quiet, **values}, argv=[])


@functools.cache
def ml_100k() -> Any:
    """ml-100k as RecBole creates it, once a process. Splitting it needs a copy; see :func:`split_once`."""
    return create_dataset(AIAConfig("BPR", "ml-100k", argv=[]))


@functools.cache
def middling_users() -> Any:
    """The third of ml-100k's users who have neither few nor many interactions: enough for what has to be quick."""
    chosen = {"user_inter_num_interval": "[50,150]"}
    return create_dataset(AIAConfig("BPR", "ml-100k", config_dict=chosen, argv=[]))


@functools.cache
def split_once(dataset: Any) -> Any:
    """A copy of a dataset that gives the same parts each time that it is split by time, which draws no numbers.

    Their interactions are shared: to be read, not written.
    """
    whole = copy.deepcopy(dataset)
    assert whole.config["eval_args"]["order"] == "TO"
    parts = whole.build()
    whole.build = lambda: [copy.copy(part) for part in parts]
    return whole
