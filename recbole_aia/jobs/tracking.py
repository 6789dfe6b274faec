"""Writes what attacks have found to where RecBole writes its curves: TensorBoard, and Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from logging import getLogger
from typing import Any

from recbole.utils import WandbLogger, get_tensorboard


def track(config: Any, results: Mapping[str, Any]) -> None:
    """Writes the worst case of each attribute and state, and its floor.

    Weights & Biases gets them in its summary if RecBole's key ``log_wandb`` is on.

    Args:
        config: of the run.
        results: the content of results.json.
    """
    found = {
        f"{attribute}/worst_case/{state}/{number}": float(case[number])
        for attribute, states in results["worst_case"].items()
        for state, case in states.items()
        for number in ("advantage", "floor")
        if number in case
    }
    tensorboard = get_tensorboard(getLogger())
    for name, value in found.items():
        tensorboard.add_scalar(f"Attack/{name}", value)
    tensorboard.close()
    WandbLogger(config).log_eval_metrics(found, head="attack")
