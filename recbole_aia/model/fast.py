"""Builds models, by default in our faster versions, which give the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole.model.general_recommender import bpr, dmf, lightgcn, neumf, ngcf
from torch import Tensor, nn

from recbole_aia.errors import CheckpointError
from recbole_aia.model.dmf import DMF
from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.model.neumf import NeuMF
from recbole_aia.model.ngcf import NGCF
from recbole_aia.model.views import UserEmbeddingView

#: Our version of each of RecBole's models. State dicts are interchangeable.
FAST = {lightgcn.LightGCN: LightGCN, dmf.DMF: DMF, neumf.NeuMF: NeuMF, ngcf.NGCF: NGCF}


def build_model(config: Any, dataset: Any) -> nn.Module:
    """Builds the model of a configuration on its device: our version where there is one, unless ``fast`` is false.

    Args:
        config: a configuration; ``init_std`` re-initialises all weights normally, biases to 0.
        dataset: the training split.
    """
    model: nn.Module = _model_class(config)(config, dataset).to(config["device"])
    if config["init_std"] is not None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0.0, config["init_std"] if parameter.dim() > 1 else 0.0)
    return model


def restore(model: Any, state: Mapping[str, Any], path: str | Path) -> None:
    """Gives a model the state of a checkpoint, and the record of what was unlearnt in it, ``model.unlearned``.

    Args:
        model: as built.
        state: the checkpoint, read.
        path: the checkpoint's file, for the error message.

    Raises:
        CheckpointError: the checkpoint does not fit the model.
    """
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint '{path}' does not fit this {type(model).__name__}: it belongs to another model "
            "or dataset, or the dataset's files or the settings have changed since. Give what it was trained with."
        ) from error
    others = state.get("other_parameter") or {}
    if others.get("released_users") is not None and not hasattr(model, "released_users"):
        raise CheckpointError(
            f"the users of '{path}' are released, and stock {type(model).__name__} has no place for them. "
            "Leave fast: False out."
        )
    model.load_other_parameter({k: v.to(model.device) if isinstance(v, Tensor) else v for k, v in others.items()})
    # Caches are computed again when they are needed.
    UserEmbeddingView(model).clear_caches()
    model.unlearned = list(state.get("unlearned", []))


def scores_users(config: Any) -> bool:
    """Whether the model of a configuration is known to score all items for many users without forming pairs."""
    return _model_class(config) in {bpr.BPR, *FAST.values()}


def _model_class(config: Any) -> Any:
    model_class = config.model_class
    return FAST.get(model_class, model_class) if config["fast"] else model_class
