"""One training, from configuration to the vectors that an attacker sees; and the undefended twin of a run."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed, set_color
from torch import Tensor

from recbole_aia.config.registry import known_keys
from recbole_aia.config.run_keys import RECBOLE_PRESENTATION
from recbole_aia.data import interactions_digest, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model, restore, scores_users
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.plain import plain
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.registry import trainer_class
from recbole_aia.version import __version__


@dataclass(frozen=True)
class Trained:
    """A trained model as the rest of a run needs it.

    Attributes:
        served: the vectors that produce the scores, of all users but the padding user, ``[n_users - 1, d]``.
        table: the raw parameters of the same users, ``[n_users - 1, d']``, or ``None``
            where there are none, as of a model that serves released vectors.
        valid_result: RecBole's validation metrics of the state that is kept.
        test_result: its test metrics.
        seconds: training time, evaluation excluded from neither.
        interactions: digest of the training interactions.
    """

    served: Tensor
    table: Tensor | None
    valid_result: dict[str, float]
    test_result: dict[str, float]
    seconds: float
    interactions: str


#: Given a trainer, what it shall call after each epoch.
Watch = Callable[[DefenseTrainer], Callable[[int], None]]


def train(
    config: Any, dataset: Any, checkpoint: Path, watch: Watch | None = None, start: Path | None = None
) -> Trained:
    """Trains the configured model under the configured defense and evaluates the state that is kept.

    Seeds and their order are those of ``recbole.quick_start.run_recbole``.

    Args:
        config: the run's configuration.
        dataset: the dataset as created; it is copied, because splitting it changes it.
        checkpoint: where the kept state is saved.
        watch: gives the trainer its ``after_epoch``.
        start: the trained model that a defense of the stage ``post`` starts from, unless ``init_checkpoint`` says.
    """
    trainer, (train_data, valid_data, test_data) = _prepared(config, dataset)
    if config["defense"] != "none" and (origin := config["init_checkpoint"] or start):
        restore(trainer.model, load_checkpoint(origin), origin)
    if trainer.stage != "post" and trainer.view.released is not None:
        raise ConfigValueError(
            f"the users of '{config['init_checkpoint']}' are released, and training would not move them. "
            "Use a defense after training, or an earlier checkpoint."
        )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.unlink(missing_ok=True)
    trainer.saved_model_file = str(checkpoint)
    trainer.after_epoch = None if watch is None else watch(trainer)
    began = time.perf_counter()
    _, valid_result = trainer.fit(train_data, valid_data, show_progress=config["show_progress"])
    seconds = time.perf_counter() - began - getattr(trainer.after_epoch, "seconds", 0.0)
    test_result = trainer.evaluate(test_data, show_progress=config["show_progress"])
    return snapshot(trainer, train_data, valid_result, test_result, seconds)


def starting_point(config: Any, dataset: Any, checkpoint: Path) -> Trained:
    """What a trained model is like before a defense starts from it.

    Args:
        config: the run's configuration, of any defense.
        dataset: the dataset as created.
        checkpoint: the model's.
    """
    trainer, (train_data, *held_out) = _prepared(_undefended(config), dataset)
    restore(trainer.model, load_checkpoint(checkpoint), checkpoint)
    return snapshot(trainer, train_data, *(trainer.evaluate(part, load_best_model=False) for part in held_out))


def _prepared(config: Any, dataset: Any) -> tuple[DefenseTrainer, tuple[Any, Any, Any]]:
    init_seed(config["seed"], config["reproducibility"])
    loaders = prepare_loaders(config, copy.deepcopy(dataset), scores_users=scores_users(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = build_model(config, loaders[0].dataset)
    getLogger().info(model)
    return trainer_class(config)(config, model), loaders


def _undefended(config: Any) -> Any:
    undefended = copy.copy(config)
    undefended.final_config_dict = {**config.final_config_dict, "defense": "none", "stage": None}
    return undefended


@torch.no_grad()
def snapshot(
    trainer: DefenseTrainer, train_data: Any, valid_result: Any, test_result: Any, seconds: float = 0.0
) -> Trained:
    """A trainer's model as it is now."""
    trainer.model.eval()
    view = trainer.view
    table = view.table()
    return Trained(
        served=view.served().cpu(),
        table=None if table is None else table.cpu(),
        valid_result=_floats(valid_result),
        test_result=_floats(test_result),
        seconds=seconds,
        interactions=interactions_digest(train_data),
    )


def undefended_twin(config: Any, dataset: Any, watch: Watch | None = None) -> tuple[Trained, Path]:
    """The same run without its defense: same seed, data and length; trained once and then reused.

    Args:
        config: the run's configuration, of any defense.
        dataset: the dataset as created.
        watch: as of :func:`train`; a twin that is reused has no epochs to watch.

    Returns:
        What was trained, and the checkpoint that holds it.
    """
    name = f"undefended-{config['model']}-{config['dataset']}-seed{config['seed']}"
    path = Path(config["checkpoint_dir"]) / f"{name}-{training_hash(config, dataset)}.pth"
    log = getLogger()
    if config["reuse_undefended"] and (kept := _load_twin(path)) is not None:
        log.info(set_color("Undefended twin", "pink") + f": reused from {path}")
        if watch is not None:
            log.warning("A twin that is reused has no epochs to attack after; set reuse_undefended: False for that.")
        return kept, path
    log.info(set_color("Undefended twin", "pink") + f": training, to be kept as {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # RecBole saves at every better epoch; only the finished twin takes the name.
        best = Path(folder) / "best.pth"
        trained = train(_undefended(config), dataset, best, watch)
        state = load_checkpoint(best)
    write_whole(path, lambda aside: torch.save({**state, "aia": asdict(trained)}, aside))
    return trained, path


def training_hash(config: Any, dataset: Any) -> str:
    """Names everything that decides the numbers of an undefended training; eight hexadecimal digits."""
    ours = known_keys()
    values = {
        key: value
        for key, value in plain(config.final_config_dict).items()
        if (ours[key].decides == "training" if key in ours else key not in RECBOLE_PRESENTATION)
    }
    values["data"] = [dataset.inter_num, dataset.user_num, dataset.item_num]
    files = sorted(Path(dataset.dataset_path).glob("*.inter"))
    values["files"] = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    values["on"] = [torch.__version__, __version__, config["device"].type]
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _load_twin(path: Path) -> Trained | None:
    try:
        return Trained(**load_checkpoint(path)["aia"]) if path.exists() else None
    except Exception as error:
        getLogger().warning(f"{path} cannot be reused ({type(error).__name__}); the twin is trained again.")
        return None


def _floats(result: Mapping[str, Any] | None) -> dict[str, float]:
    return {key: float(value) for key, value in (result or {}).items()}
