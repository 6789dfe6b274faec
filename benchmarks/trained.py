"""Evaluates a trained model with other user vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_aia import AIAConfig, UserEmbeddingView, load_run
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.model import scores_users
from recbole_aia.trainer import trainer_class, undefended_twin


def settings(model: str, dataset: str, attributes: str, seed: int, rest: Sequence[str], **values: Any) -> AIAConfig:
    """The configuration of a silent run of calibrated with own labels; ``rest`` are ``--key=value`` arguments."""
    quiet = {"gpu_id": "", "show_progress": False, "state": "warning"}
    values = {**quiet, "seed": seed, "defense": "calibrated", "calibrated_labels": "own", **values}
    return AIAConfig(model, dataset, config_dict=values, argv=[f"--attributes=[{attributes}]", *rest])


class Twin:
    """The undefended twin of a run, trained or found in ``saved/``.

    Attributes:
        config: the run's configuration.
        labels: the users' labels, by attribute.
        users: the twin's served vectors, ``[n, d]``.
        activity: number of interactions of each user, ``[n]``.
    """

    def __init__(self, model: str, dataset: str, attributes: str, seed: int, rest: Sequence[str]) -> None:
        self.config = settings(model, dataset, attributes, seed, rest, stage="post")
        data = create_dataset(self.config)
        table = load_labels(self.config, data)
        self.labels, self.activity = table.columns(), table.activity()
        run = load_run(undefended_twin(self.config, data)[1])
        init_seed(seed, True)  # a random split has to be the split of the training
        loaders = prepare_loaders(self.config, copy.deepcopy(run.dataset), scores_users=scores_users(self.config))
        self._trainer, self._parts = trainer_class(self.config)(self.config, run.model), loaders[1:]
        self._view = UserEmbeddingView(run.model)
        with torch.no_grad():
            self.users = self._view.served().clone()
            self._released = self._view.release() if "released" in self._view.targets else None

    @torch.no_grad()
    def ndcg(self, users: Tensor) -> tuple[float, float]:
        """NDCG@10 on validation items and on test items, with the user vectors ``users [n, d]``."""
        if self._released is None:
            self._view.write(users)
        else:
            self._released[self._view.users] = users
        self._view.clear_caches()
        validation, test = (self._trainer.evaluate(part, load_best_model=False) for part in self._parts)
        return float(validation["ndcg@10"]), float(test["ndcg@10"])
