"""Builds models, by default in our faster versions, which give the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.model.general_recommender import bpr, dmf, lightgcn, multivae, neumf, ngcf
from torch import Tensor, nn

from recbole_aia.data.numbering import Numbering
from recbole_aia.errors import CheckpointError
from recbole_aia.model.dmf import DMF
from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.model.multivae import MultiVAE
from recbole_aia.model.neumf import NeuMF
from recbole_aia.model.ngcf import NGCF
from recbole_aia.model.views import UserEmbeddingView
from recbole_aia.storage.checkpoints import saved_values

#: Our version of each of RecBole's models. State dicts are interchangeable.
FAST = {
    lightgcn.LightGCN: LightGCN,
    dmf.DMF: DMF,
    multivae.MultiVAE: MultiVAE,
    neumf.NeuMF: NeuMF,
    ngcf.NGCF: NGCF,
}


#: Models whose loss is a mean over the rows of a batch.
_MEANS = (bpr.BPR, neumf.NeuMF, NeuMF, LightGCN)


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
    model.numbering = Numbering.of_part(dataset)  # type: ignore[assignment]
    if config["reproducibility"] and torch.device(config["device"]).type == "cuda" and _holds_sparse(model):
        getLogger().warning(
            f"recbole-aia: on a GPU this {type(model).__name__} multiplies a sparse matrix, whose sums come in another "
            "order from run to run: equal seeds give results that differ. Leave fast: False out, or add --device=cpu."
        )
    return model


def _holds_sparse(model: nn.Module) -> bool:
    """Whether a model holds a sparse tensor of torch's, as RecBole's own graph models do."""
    return any(isinstance(each, Tensor) and each.layout != torch.strided for each in vars(model).values())


def restore(model: Any, state: Mapping[str, Any], path: str | Path) -> None:
    """Gives a model the state of a checkpoint, and the record of what was unlearnt in it, ``model.unlearned``.

    Args:
        model: as built.
        state: the checkpoint, read.
        path: the checkpoint's file, for the error message.

    Raises:
        CheckpointError: the checkpoint does not fit the model.
    """
    refuse_other(model, state, path)
    records = list(_records(state, model, path))
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(_misfit(model, path)) from error
    others = state.get("other_parameter") or {}
    if others.get("released_users") is not None and not hasattr(model, "released_users"):
        raise CheckpointError(
            f"the users of '{path}' are released, and stock {type(model).__name__} has no place for them. "
            "Leave fast: False out."
        )
    if not set(others) <= set(getattr(model, "other_parameter_name", ())):
        raise CheckpointError(_misfit(model, path))
    model.load_other_parameter({k: v.to(model.device) if isinstance(v, Tensor) else v for k, v in others.items()})
    # Caches are computed again when they are needed.
    UserEmbeddingView(model).clear_caches()
    _check_released(model, path)
    model.unlearned = records


def refuse_other(model: Any, state: Mapping[str, Any], path: str | Path) -> None:
    """Refuses a checkpoint of another model, of other users or items, or with weights of another kind.

    Raises:
        CheckpointError: the checkpoint does not belong to the model.
    """
    name = type(model).__name__
    saved = saved_values(state, path)["model"] if "config" in state else name
    if saved != name:
        raise CheckpointError(f"the checkpoint '{path}' holds a {saved}, not a {name}. Write --model={saved}.")
    kept, here = Numbering.kept_in(state, path), getattr(model, "numbering", None)
    if kept is not None and here is not None and not kept.agrees(here):
        raise CheckpointError(
            f"the checkpoint '{path}' numbers users or items otherwise than these data. Give the data that it was "
            "trained on, or bring it back with recbole_aia.load_run, which finds them by name."
        )
    own = model.state_dict()
    for key, value in state["state_dict"].items():
        if key in own and own[key].is_floating_point() != value.is_floating_point():
            raise CheckpointError(f"the weights '{key}' in '{path}' are {value.dtype}. {_misfit(model, path)}")
        if key in own and value.dtype != own[key].dtype and not torch.isfinite(value.to(own[key].dtype)).all():
            raise CheckpointError(f"the weights '{key}' in '{path}' are beyond {own[key].dtype}. Scale them down.")


def _misfit(model: Any, path: str | Path) -> str:
    return (
        f"the checkpoint '{path}' does not fit this {type(model).__name__}: it belongs to another model "
        "or dataset, or the dataset's files or the settings have changed since. Give what it was trained with."
    )


@torch.no_grad()
def _check_released(model: Any, path: str | Path) -> None:
    """Refuses released vectors of a shape that cannot score."""
    users, items = getattr(model, "released_users", None), getattr(model, "released_items", None)
    if users is None and items is None:
        return
    fits = all(
        isinstance(each, Tensor) and each.dim() == 2 and len(each) == size and each.is_floating_point()
        for each, size in ((users, model.n_users), (items, model.n_items))
        if each is not None
    )
    try:
        if not fits or (users is None) != (items is None and hasattr(model, "released_items")):
            raise ValueError("released vectors")
        UserEmbeddingView(model).scores(model.released_users[:1])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(_misfit(model, path)) from error


def _records(state: Mapping[str, Any], model: Any, path: str | Path) -> Sequence[dict[str, Any]]:
    """The records of what was unlearnt, if they have the form of :attr:`Unlearner.history`."""
    records = state.get("unlearned", [])

    def is_text_list(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)

    def is_record(record: Any) -> bool:
        if not isinstance(record, dict) or not is_text_list(record.get("attributes")) or "users" not in record:
            return False
        users, specs = record["users"], record.get("specs", {})
        ids = users is None or (
            isinstance(users, list) and all(type(each) is int and 0 < each < model.n_users for each in users)
        )
        return ids and isinstance(specs, dict)

    if not (isinstance(records, list) and all(map(is_record, records))):
        raise CheckpointError(
            f"what was unlearnt in the checkpoint '{path}' cannot be read ('unlearned'). Use it as it was written."
        )
    return records


def scores_users(config: Any) -> bool:
    """Whether the model of a configuration is known to score all items for many users without forming pairs."""
    return _model_class(config) in {bpr.BPR, *FAST.values()}


def recordable(model: nn.Module) -> bool:
    """Whether a training step of a model is known to be the same operations every time, and never waits for a GPU."""
    return type(model) in {bpr.BPR, *FAST.values()}


def adds_up(config: Any) -> bool:
    """Whether the loss of a batch is known to be a mean over its rows: losses of parts of a batch then add up to it.

    LightGCN adds norms of the batch's vectors, which add up as squares (``require_pow``), or as ours takes them.
    """
    model_class = _model_class(config)
    return model_class in _MEANS or (model_class is lightgcn.LightGCN and bool(config["require_pow"]))


def _model_class(config: Any) -> Any:
    model_class = config.model_class
    return FAST.get(model_class, model_class) if config["fast"] else model_class
