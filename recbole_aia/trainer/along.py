"""The trainings and evaluations of a run, which all its processes do together."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Literal

from recbole.utils import init_seed

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model, restore, scores_users
from recbole_aia.ranks import at_work, crew
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.parallel import check_parallel
from recbole_aia.trainer.registry import trainer_class


@dataclass(frozen=True)
class Training:
    """A training or an evaluation that all processes do together; a :class:`~recbole_aia.ranks.Work`.

    Attributes:
        kind: ``train``, or ``evaluate`` a trained model.
        undefended: whether without the run's defense.
        checkpoint: the file for the kept state, or of the trained model.
        origin: the model from which a training starts; ``None`` for a new one.
    """

    kind: Literal["train", "evaluate"]
    undefended: bool
    checkpoint: Path
    origin: Path | None = None

    @contextlib.contextmanager
    def shared(self, config: Any) -> Iterator[None]:
        """Inside, all processes do the work; called by the first one, which tells the others.

        Raises:
            ConfigValueError: several processes would not do what one does.
        """
        check_parallel(trainer_class(config), config, crew().count)
        crew().told(lambda: self)
        with at_work():
            yield

    def along(self, config: Any, dataset: Any) -> None:
        """See :meth:`recbole_aia.ranks.Work.along`."""
        with at_work():
            trainer, loaders = opened(self, undefended(config) if self.undefended else config, dataset)
            if self.kind == "train":
                trainer.fit(*loaders[:2])
                trainer.evaluate(loaders[2])
            else:
                for each in loaders[1:]:
                    trainer.evaluate(each, load_best_model=False)


def opened(work: Training, config: Any, dataset: Any) -> tuple[DefenseTrainer, tuple[Any, Any, Any]]:
    """The trainer of a work, whose model is where the work begins; and the loaders.

    Args:
        work: what is to be done.
        config: the run's configuration, with or without its defense.
        dataset: the dataset as created; it is copied, because splitting changes it.

    Raises:
        ConfigValueError: the users of the model do not move in training.
    """
    trainer, loaders = prepared(config, dataset)
    start = work.origin if work.kind == "train" else work.checkpoint
    if start is not None:
        restore(trainer.model, load_checkpoint(start), start)
    if work.kind == "train" and trainer.stage != "post" and trainer.view.released is not None:
        raise ConfigValueError(
            f"the users of '{config['init_checkpoint']}' are released, and training would not move them. "
            "Use a defense after training, or an earlier checkpoint."
        )
    trainer.saved_model_file = str(work.checkpoint)
    return trainer, loaders


def prepared(config: Any, dataset: Any) -> tuple[DefenseTrainer, tuple[Any, Any, Any]]:
    """A new model's trainer and loaders; random numbers are set as in ``recbole.quick_start.run_recbole``."""
    init_seed(config["seed"], config["reproducibility"])
    loaders = prepare_loaders(config, copy.deepcopy(dataset), scores_users=scores_users(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = build_model(config, loaders[0].dataset)
    getLogger().info(model)
    return trainer_class(config)(config, model), loaders


def undefended(config: Any) -> Any:
    """The configuration of the same training without its defense."""
    without = copy.copy(config)
    without.final_config_dict = {**config.final_config_dict, "defense": "none", "stage": None}
    return without
