"""Trains a model from its configuration to the vectors that an attacker sees; keeps a run's undefended twin."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.utils import set_color
from torch import Tensor

from recbole_aia.config.devices import device_memory
from recbole_aia.config.registry import known_keys
from recbole_aia.config.run_keys import RECBOLE_PRESENTATION
from recbole_aia.data import Numbering, interactions_digest
from recbole_aia.errors import CheckpointError
from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint
from recbole_aia.storage.files import folder_aside, one_at_a_time, private_folder, sha256_of, sweep
from recbole_aia.storage.plain import plain
from recbole_aia.storage.snapshots import Snapshots
from recbole_aia.trainer.along import Training, opened, undefended
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.per_user import evaluated
from recbole_aia.version import __version__


@dataclass(frozen=True)
class Trained:
    """The parts of a trained model that a run needs.

    Attributes:
        served: the vectors that produce the scores, of all users but the padding user, ``[n_users - 1, d]``.
        table: the raw parameters of the same users, ``[n_users - 1, d']``; ``None`` if the model has no table, or
            serves released vectors.
        valid_result: RecBole's validation metrics of the kept state.
        test_result: RecBole's test metrics of the kept state.
        seconds: training time, with the validation of each epoch and without attacks.
        interactions: digest of the training interactions.
        per_user: test metrics of each user by name, ``[n_users - 1]``, NaN for users without test items; empty if
            unknown.
        curves: what the training has recorded of its epochs, see :class:`~recbole_aia.trainer.curves.Curves`; empty
            if it had none, or if a version that recorded nothing has trained it.
    """

    served: Tensor
    table: Tensor | None
    valid_result: dict[str, float]
    test_result: dict[str, float]
    seconds: float
    interactions: str
    per_user: dict[str, Tensor] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)


#: Takes a trainer and returns the function that the trainer calls after each epoch.
Watch = Callable[[DefenseTrainer], Callable[[int], None]]
#: Takes the number of an epoch and its validation score; may raise to end the training.
Validated = Callable[[int, float], None]


def train(
    config: Any,
    dataset: Any,
    checkpoint: Path,
    watch: Watch | None = None,
    start: Path | None = None,
    snapshots: Snapshots | None = None,
    validated: Validated | None = None,
) -> Trained:
    """Trains the configured model under the configured defense, and evaluates the kept state.

    Random seeds are set as in ``recbole.quick_start.run_recbole``, in the same order.

    Args:
        config: the run's configuration.
        dataset: the dataset as created; it is copied, because splitting changes it.
        checkpoint: the file for the kept state.
        watch: makes the trainer's ``after_epoch``.
        start: the trained model from which a defense of the stage ``post`` starts; ``init_checkpoint`` goes before it.
        snapshots: of an interrupted training of the same, which goes on from the last of them, or is over already.
        validated: called after each validation in the last phase of the training, in which the model is defended.
    """
    kept = None if snapshots is None else snapshots.last()
    if kept is not None and "trained" in kept:
        if checkpoint.is_file() and sha256_of(checkpoint) == kept["checkpoint"]:
            return Trained(**kept["trained"])
        kept = None
    origin = None if config["defense"] == "none" else config["init_checkpoint"] or start
    work = Training("train", config["defense"] == "none", checkpoint, None if origin is None else Path(origin))
    with work.shared(config):
        trainer, (train_data, valid_data, test_data) = opened(work, config, dataset)
        private_folder(checkpoint.parent)
        if kept is None:
            checkpoint.unlink(missing_ok=True)
            if snapshots is not None:
                snapshots.clear()
        trainer.snapshots = snapshots
        trainer.after_epoch = None if watch is None else watch(trainer)
        heard = None if validated is None else _in_last_phase(trainer, validated)
        began = time.perf_counter() - (kept or {}).get("seconds", 0.0)
        with device_memory("the training", "train_batch_size"):
            shown = config["show_progress"]
            _, valid_result = trainer.fit(train_data, valid_data, show_progress=shown, callback_fn=heard)
        seconds = time.perf_counter() - began - getattr(trainer.after_epoch, "seconds", 0.0)
        tested = evaluated(trainer, test_data, show_progress=config["show_progress"])
    trained = snapshot(trainer, train_data, valid_result, tested, seconds)
    if snapshots is not None:
        snapshots.save({"trained": asdict(trained), "checkpoint": sha256_of(checkpoint)})
    return trained


def _in_last_phase(trainer: DefenseTrainer, validated: Validated) -> Validated:
    def heard(epoch: int, score: float) -> None:
        if trainer.in_last_phase:
            validated(epoch, float(score))

    return heard


def starting_point(config: Any, dataset: Any, checkpoint: Path) -> Trained:
    """Evaluates a trained model from which a defense will start.

    Args:
        config: the run's configuration, of any defense.
        dataset: the dataset as created.
        checkpoint: the checkpoint of the trained model.
    """
    config, work = undefended(config), Training("evaluate", True, checkpoint)
    with work.shared(config):
        trainer, (train_data, valid_data, test_data) = opened(work, config, dataset)
        valid_result = trainer.evaluate(valid_data, load_best_model=False)
        tested = evaluated(trainer, test_data, load_best_model=False)
    return snapshot(trainer, train_data, valid_result, tested)


@torch.no_grad()
def snapshot(
    trainer: DefenseTrainer,
    train_data: Any,
    valid_result: Any,
    tested: tuple[dict[str, float], dict[str, Tensor]],
    seconds: float = 0.0,
) -> Trained:
    """The served vectors, the table and the given results of a trainer's present model.

    Args:
        trainer: of the model.
        train_data: RecBole's loader.
        valid_result: validation metrics.
        tested: what :func:`~recbole_aia.trainer.per_user.evaluated` gives of the test items.
        seconds: of the training.
    """
    trainer.model.eval()
    view = trainer.view
    table = view.table()
    return Trained(
        served=view.served().cpu(),
        table=None if table is None else table.cpu(),
        valid_result=_floats(valid_result),
        test_result=_floats(tested[0]),
        seconds=seconds,
        interactions=interactions_digest(train_data),
        per_user={name: values[1:] for name, values in tested[1].items()},
        curves=trainer.curves.epochs,
    )


def undefended_twin(
    config: Any, dataset: Any, watch: Watch | None = None, snapshots: Snapshots | None = None
) -> tuple[Trained, Path]:
    """The undefended twin of a run: the same seed, data and epochs without the defense. It is trained once.

    Args:
        config: the run's configuration, of any defense.
        dataset: the dataset as created.
        watch: see :func:`train`; not called if the twin is reused, because there are no epochs then.
        snapshots: see :func:`train`.

    Returns:
        The trained twin, and its checkpoint.
    """
    name = f"undefended-{config['model']}-{config['dataset']}-seed{config['seed']}"
    path = Path(config["checkpoint_dir"]) / f"{name}-{training_hash(config, dataset)}.pth"
    private_folder(path.parent)
    with one_at_a_time(path):  # runs side by side train it once
        return _twin(config, dataset, path, watch, snapshots), path


def _twin(config: Any, dataset: Any, path: Path, watch: Watch | None, snapshots: Snapshots | None) -> Trained:
    """The twin that ``path`` keeps, or a new one, kept there."""
    log = getLogger()
    if config["reuse_undefended"] and (kept := _load_twin(path, dataset)) is not None:
        log.info(set_color("Undefended twin", "pink") + f": reused from {path}")
        if watch is not None:
            log.warning("A twin that is reused has no epochs to attack after; set reuse_undefended: False for that.")
        return kept
    log.info(set_color("Undefended twin", "pink") + f": training, to be kept as {path}")
    sweep(path.parent)
    with contextlib.ExitStack() as stack:
        # RecBole saves after every better epoch. Only the finished twin gets the name by which it is reused.
        place = snapshots.folder if snapshots is not None else stack.enter_context(folder_aside(path.parent))
        trained = train(undefended(config), dataset, place / "best.pth", watch, snapshots=snapshots)
        state = load_checkpoint(place / "best.pth")
    save_checkpoint({**state, "aia": asdict(trained)}, path)
    return trained


def training_hash(config: Any, dataset: Any) -> str:
    """Eight hexadecimal digits of SHA-256 over all that decides the numbers of an undefended training.

    These are the configuration's keys that decide the training, the users, items and interactions in their order, and
    the versions of torch and recbole-aia.
    """
    ours = known_keys()
    values = {
        key: value
        for key, value in plain(config.final_config_dict).items()
        if (ours[key].decides == "training" if key in ours else key not in RECBOLE_PRESENTATION)
    }
    values["data"] = dataset.numbering.digest
    values["on"] = [torch.__version__, __version__, config["device"].type]
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _load_twin(path: Path, dataset: Any) -> Trained | None:
    try:
        if not path.exists():
            return None
        state = load_checkpoint(path)
        numbering = Numbering.kept_in(state, path)
        if numbering is None or numbering.digest != dataset.numbering.digest:
            raise CheckpointError(f"'{path}' is the twin of other data.")
        return Trained(**state["aia"])
    except Exception as error:
        getLogger().warning(f"{path} cannot be reused ({type(error).__name__}); the twin is trained again.")
        return None


def _floats(result: Mapping[str, Any] | None) -> dict[str, float]:
    return {key: float(value) for key, value in (result or {}).items()}
