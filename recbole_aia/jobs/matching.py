"""Brings data and checkpoint together, so that every vector goes to the user whose it is.

A checkpoint of ours names its users and items, and the data are numbered as it numbers them. A checkpoint without names
(of RecBole, or of recbole-aia 0.1.0) goes by number, which is right only with the very file that it was trained on.
Then one of these has to show that the file is the same: a ledger with the digest of the data, the key ``trained_on``,
or the validation score, which the data must reproduce and shuffled users must not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from recbole.data.interaction import Interaction
from recbole.evaluator import Collector, Evaluator
from recbole.trainer import Trainer
from recbole.trainer.trainer import AbstractTrainer
from recbole.utils import init_seed
from recbole.utils.argument_list import evaluation_arguments, general_arguments, training_arguments

from recbole_aia.config.registry import known_keys
from recbole_aia.config.run_keys import RECBOLE_PRESENTATION
from recbole_aia.data import Numbering, create_dataset, files_digest, prepare_loaders, renumber, shuffle_users
from recbole_aia.errors import CheckpointError, ConfigValueError
from recbole_aia.model import build_model, restore
from recbole_aia.storage.checkpoints import load_checkpoint, saved_values
from recbole_aia.storage.plain import plain
from recbole_aia.unlearning.ledger import Ledger

# Keys of RecBole that may differ between a training and what is done with its model; so may all keys of ours.
_FREE = (
    {*general_arguments, *training_arguments, *evaluation_arguments, *RECBOLE_PRESENTATION}
    | {"shuffle", "require_pow", "enable_amp", "enable_scaler", "transform", "config_files", "nproc", "ip", "port"}
    | {"world_size", "group_offset"}
) - {"eval_args"}
# Keys that decide the validation score of a trained model.
_SCORED = ("seed", "valid_metric", "metrics", "topk", "eval_args", "metric_decimal_place", "repeatable")
_ROUNDING = 2e-3  # relative difference of two scores of the same model: another device, another order of sums; ours
_SAMPLED = 3e-2  # the same where the negatives of the evaluation are drawn anew; ours
_CLEAR = 0.15  # relative difference of the score under shuffled users from which it tells users apart; ours


def refuse_contradictions(given: Iterable[str], config: Any, saved: Mapping[str, Any], path: Path) -> None:
    """Refuses settings of the model or the data other than those that a checkpoint was trained with.

    Args:
        given: the keys that are given beside the checkpoint.
        config: the configuration with their values.
        saved: the checkpoint's configuration.
        path: the checkpoint, for messages.

    Raises:
        ConfigValueError: a key contradicts the checkpoint.
    """
    for key in sorted(set(given) - _FREE - known_keys().keys()):
        here, there = plain(config[key]), plain(saved.get(key))
        if key in saved and here != there:
            raise ConfigValueError(
                f"{key} is {here}, and '{path}' was trained with {there}. Leave {key} out, or write --{key}={there}."
            )


def trained_data(config: Any, state: Mapping[str, Any], path: Path, same_data: bool = False) -> Any:
    """The dataset of a configuration, numbered as a checkpoint numbers users and items.

    Args:
        config: a configuration with the checkpoint's model.
        state: the checkpoint.
        path: its file, for messages.
        same_data: whether the dataset's files are known to be those of the training.

    Raises:
        CheckpointError: the data are not those that the checkpoint was trained on, or nothing shows that they are.
    """
    dataset, numbering = create_dataset(config), Numbering.kept_in(state, path)
    if numbering is not None:
        return renumber(dataset, numbering, path)
    dataset.renumbered = False
    if not same_data:
        _refuse_doubt(config, dataset, state, path)
    return dataset


def starting_data(config: Any) -> Any:
    """The dataset of a run, numbered as the checkpoint numbers it from which the run starts, if there is one.

    Raises:
        CheckpointError: see :func:`trained_data`.
        ConfigValueError: the run has another model or other data than the checkpoint.
    """
    if not config["init_checkpoint"] or config["defense"] == "none":
        return create_dataset(config)
    path = Path(config["init_checkpoint"])
    state = load_checkpoint(path)
    saved = saved_values(state, path)
    if saved["model"] != config["model"]:
        raise CheckpointError(
            f"the checkpoint '{path}' holds a {saved['model']}, not a {config['model']}. "
            f"Write --model={saved['model']}."
        )
    refuse_contradictions(config.final_config_dict.keys() & saved.keys() - {"data_path"}, config, saved, path)
    if config["eval_args"]["order"] == "RO" and saved.get("seed", config["seed"]) != config["seed"]:
        raise ConfigValueError(
            f"seed is {config['seed']}, which would test '{path}' on what it was trained on: random splits depend on "
            f"the seed. Write --seed={saved['seed']}."
        )
    return trained_data(config, state, path)


def _refuse_doubt(config: Any, dataset: Any, state: Mapping[str, Any], path: Path) -> None:
    """Raises :class:`CheckpointError` unless something shows that a checkpoint without names belongs to the data."""
    digest = files_digest(config)
    vouched = f"data-{digest[:12]}"
    if config["trained_on"] == vouched or _ledger_knows(state, path, digest):
        return
    if config["trained_on"] is not None:
        raise CheckpointError(
            f"trained_on is {config['trained_on']}, and these data are {vouched}. "
            f"Give the file that '{path}' was trained on."
        )
    reason = _doubt(config, dataset, state, path)
    if reason is not None:
        raise CheckpointError(
            f"'{path}' does not name its users, and {reason}. With other data, or rows in another order, its vectors "
            f"would go to wrong people. Give the very file that it was trained on. If {dataset.dataset_name}.inter is "
            f"that file, row by row, write --trained_on={vouched}."
        )


def _ledger_knows(state: Mapping[str, Any], path: Path, digest: str) -> bool:
    """Whether the ledger beside a checkpoint made it from the same data."""
    with suppress(ConfigValueError, OSError):
        ledger = Ledger.read(path.parent)
        return state.get("ledger") == ledger.digest() and ledger.data == digest
    return False


def _doubt(config: Any, dataset: Any, state: Mapping[str, Any], path: Path) -> str | None:
    """The reason why the recorded validation score does not show that the data are the same; ``None`` if it does."""
    saved, recorded = saved_values(state, path), state.get("best_valid_score")
    if not isinstance(recorded, int | float) or not math.isfinite(recorded):
        return "it records no validation score"
    trained = copy.copy(config)
    trained.final_config_dict = {**config.final_config_dict, **{key: saved[key] for key in _SCORED if key in saved}}
    again = _valid_score(trained, copy.deepcopy(dataset), state, path)
    if again is None:
        return "its validation score cannot be computed"
    sampled = not all(mode == "full" for mode in _modes(trained["eval_args"]))
    places = trained["metric_decimal_place"]
    tolerance = (_SAMPLED if sampled else _ROUNDING) * abs(recorded) + 10.0**-places
    if abs(again - recorded) > tolerance:
        return f"it was validated with {recorded:.{places}g}, which these data do not give ({again:.{places}g})"
    shuffled = _valid_score(trained, shuffle_users(copy.deepcopy(dataset), trained["seed"]), state, path)
    if shuffled is None or abs(shuffled - recorded) < max(_CLEAR * abs(recorded), 3 * tolerance):
        return f"its validation score ({recorded:.{places}g}) is hardly another under shuffled users"
    return None


def _modes(eval_args: Mapping[str, Any]) -> list[Any]:
    mode = eval_args["mode"]
    return list(mode.values()) if isinstance(mode, Mapping) else [mode]


def _valid_score(config: Any, dataset: Any, state: Mapping[str, Any], path: Path) -> float | None:
    """The validation score of a checkpoint on a dataset, which is changed; ``None`` if nothing is validated on."""
    init_seed(config["seed"], config["reproducibility"])
    training, valid, _ = prepare_loaders(config, dataset)
    model = build_model(config, training.dataset)
    restore(model, state, path)
    if not len(valid.dataset):
        return None
    result = _Scorer(config, model, training).evaluate(valid, load_best_model=False)
    return float(result[config["valid_metric"].lower()]) if config["valid_metric"].lower() in result else None


class _Scorer(Trainer):  # type: ignore[misc]
    """RecBole's evaluation without the folders and the optimizer that its trainers make."""

    def __init__(self, config: Any, model: Any, training: Any) -> None:
        AbstractTrainer.__init__(self, config, model)
        self.device, self.test_batch_size, self.gpu_available = config["device"], config["eval_batch_size"], False
        self.eval_collector, self.evaluator = Collector(config), Evaluator(config)
        self.eval_collector.data_collect(training)
        self.item_tensor: Interaction | None = None
        self.wandblogger = SimpleNamespace(log_eval_metrics=lambda *_args, **_kwargs: None)
