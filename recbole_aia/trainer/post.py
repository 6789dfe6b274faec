"""Defenses after training: they edit the users of a trained model and keep a record of it."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key, Number
from recbole_aia.data import LabelTable, create_dataset, defense_labels
from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer.base import DEFENDED_KEYS, DefenseTrainer
from recbole_aia.trainer.targets import Target, intact_on_error, make_target, only_moving
from recbole_aia.unlearning.requests import Request, UnlearningTask, make_task, specifications

__all__ = ["Gradients", "Plateau", "Unlearner", "UnlearningTask"]

Result = TypeVar("Result")
_CHECK = 10  # steps between two looks at the loss

TARGET = Choice(
    None,
    "What moves: table, tower (DMF) or released (DMF, LightGCN, NGCF). ~: the model's own.",
    choices=("table", "tower", "released"),
)


def descent_keys(rate: float, steps: int) -> dict[str, Key]:
    """The keys of :meth:`Unlearner.descend`, with the defaults of a defense."""
    return {
        "unlearn_learning_rate": Number(
            rate,
            "Adam's step relative to the standard deviation of each table that moves.",
            low=0,
            above=True,
        ),
        "unlearn_max_steps": Count(
            steps,
            "Steps at most. More make classes so alike that answers come out reversed, which can be read too.",
            low=1,
        ),
        "unlearn_tolerance": Number(
            0.001, "Relative fall of the loss between two looks (ten steps) that counts as one.", low=0
        ),
        "unlearn_patience": Count(5, "Looks without a fall after which unlearning has converged.", low=1),
    }


#: A monitored loss, and the gradients of a target's parameters; ``None`` where there is nothing left to do.
Gradients = Callable[[], tuple[Tensor, list[Tensor]] | None]


class Unlearner(DefenseTrainer):
    """A defense that takes a trained model and returns it with other users.

    :meth:`fit` is what a run calls; :meth:`unlearn` is the same without RecBole's loaders.
    """

    stage: ClassVar[str] = "post"
    shared_keys: ClassVar[Mapping[str, Key]] = {**DEFENDED_KEYS, "target": TARGET}

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record of each unlearning of this model, earlier ones first.

        It stays with the model (``model.unlearned``) and is kept in checkpoints; it names users by internal ids.
        """
        if not hasattr(self.model, "unlearned"):
            self.model.unlearned = []
        records: list[dict[str, Any]] = self.model.unlearned
        return records

    @property
    def kept_state(self) -> dict[str, Any]:
        """What checkpoints hold besides RecBole's keys."""
        return {"unlearned": self.history}

    @property
    def uses_interactions(self) -> bool:
        """Whether this defense, as configured, trains on interactions."""
        return False

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """Whether an attribute can be hidden of users who are distributed over its classes like this.

        An earlier attribute that cannot, of those who ask today, is left out of a later request with a warning.

        Args:
            asked: how many of those who move are of each class, ``[K]``.
            others: how many of those who stay are, ``[K]``.
        """
        return bool(asked.any())

    @abstractmethod
    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """Edits the users and returns what the record should say of it, as plain data."""

    def unlearn(
        self,
        train_data: Any = None,
        *,
        labels: LabelTable | None = None,
        attributes: Sequence[str] | None = None,
        users: Tensor | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Hides attributes of users; what was hidden for them before stays hidden.

        Args:
            train_data: RecBole's training loader; ``None`` for data-free unlearning, in which no interaction is used.
            labels: the users' labels. ``None`` reads them from the dataset's ``.user`` file, and where there is no
                ``train_data`` reads the dataset too, for the numbering of its users alone.
            attributes: those of ``labels`` that are asked for now; all where ``None``.
            users: RecBole's internal ids of those who ask; all where ``None``. Others come out bit-identical.

        Returns:
            The record, which is also appended to :attr:`history`.

        Raises:
            AttributeDataError: nobody among ``users`` has a label.
            ConfigValueError: users that the model does not have, or a defense that needs ``train_data``.
        """
        if labels is None:
            labels = self.load_labels(None if train_data is None else train_data.dataset)
            attributes = attributes or list(self.config["attributes"])
        who = None if users is None else torch.as_tensor(users, dtype=torch.long, device="cpu")
        return self.serve([Request(attributes or labels.names, who)], labels, train_data)[0]

    def serve(self, requests: Sequence[Request], labels: LabelTable, train_data: Any = None) -> list[dict[str, Any]]:
        """Serves several requests in one unlearning; see :meth:`unlearn`. Their order does not change the result."""
        self.labels = labels
        task = make_task(requests, self.history, labels, self.device, self.can_hide)
        specs = specifications(self.config["attributes"], self.history)
        earlier = dict.fromkeys(name for record in self.history for name in record["attributes"])
        if missing := [name for name in earlier if name not in labels.names]:
            self.logger.warning(f"{', '.join(missing)}, hidden earlier, may come back: the labels do not have it.")
        self.model.eval()
        with intact_on_error(self.model):
            details = self.edit(task, train_data)
        self.view.clear_caches()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        records = [
            {
                "defense": self.defense,
                "attributes": list(request.attributes),
                "specs": {name: specs[name] for name in request.attributes if specs.get(name) is not None},
                "users": None if request.users is None else request.users.tolist(),
                "when": request.when or now,
                **details,
            }
            for request in requests
        ]
        self.history.extend(records)
        self.logger.info(f"{self.defense}: {_line(task, details)}")
        return records

    def load_labels(self, dataset: Any = None) -> LabelTable:
        """Labels of the configured attributes, and of those that were hidden earlier; see :func:`defense_labels`.

        Args:
            dataset: RecBole's dataset, for its ids; read again where ``None``.
        """
        config = copy.copy(self.config)
        attributes = specifications(self.config["attributes"], self.history)
        config.final_config_dict = {**config.final_config_dict, "attributes": attributes}
        return defense_labels(config, create_dataset(config) if dataset is None else dataset)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Unlearns, validates and saves; see :meth:`DefenseTrainer.fit`."""
        labels = self.load_labels(train_data.dataset)
        interactions = train_data if self.uses_interactions else None
        self.unlearn(interactions, labels=labels, attributes=list(self.config["attributes"]))
        if valid_data:
            self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data, show_progress)
        if saved:
            self._save_checkpoint(0, verbose=verbose)
        return self.best_valid_score, self.best_valid_result

    def target(self, task: UnlearningTask) -> Target:
        """What moves, by the key ``target``."""
        return make_target(self.view, task.users, self.config["target"])

    def descend(self, target: Target, gradients: Gradients) -> dict[str, Any]:
        """Adam steps until the monitored loss stands still, or nothing is left to do.

        Args:
            target: what moves.
            gradients: called for each step.

        Returns:
            ``steps``, and whether the loss ``converged`` before they ran out.

        Raises:
            ConfigValueError: the loss is no longer finite.
        """
        config = self.config
        optimizer = torch.optim.Adam(
            {"params": [parameter], "lr": config["unlearn_learning_rate"] * scale}
            for parameter, scale in zip(target.parameters, target.scales(), strict=True)
        )
        plateau, step, converged = Plateau(config["unlearn_tolerance"], config["unlearn_patience"]), 0, False
        # RecBole's fit leaves anomaly detection on, which makes an error of torch's of a loss that is not finite.
        with only_moving(self.model, target), torch.autograd.set_detect_anomaly(False):
            while step < config["unlearn_max_steps"] and not converged:
                computed = self.checked(gradients)
                if computed is None:
                    break
                loss, moves = computed
                for parameter, move in zip(target.parameters, moves, strict=True):
                    parameter.grad = move
                optimizer.step()
                step += 1
                if step % _CHECK == 0:
                    converged = plateau.reached(float(loss))
            for parameter in target.parameters:
                parameter.grad = None
            self._check_finite(torch.cat([parameter.detach().sum().view(1) for parameter in target.parameters]))
            target.finish()
        return {"steps": step, "converged": converged}

    def checked(self, compute: Callable[[], Result]) -> Result:
        """What ``compute`` returns; raises :class:`ConfigValueError` where a covariance has become singular."""
        try:
            return compute()
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise ConfigValueError(
                f"{self.defense}: a covariance has become singular. Lower unlearn_learning_rate, or write "
                "--attrcloak_covariance=ledoit_wolf."
            ) from error

    def _check_finite(self, values: Tensor) -> None:
        if not values.isfinite().all():
            raise ConfigValueError(f"{self.defense}: the users are no longer finite. Lower unlearn_learning_rate.")


class Plateau:
    """Whether a loss has stopped falling.

    Args:
        tolerance: the least fall, relative to the lowest value before, that counts.
        patience: looks without such a fall after which the loss stands still.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.lowest, self.idle = float("inf"), 0

    def reached(self, loss: float) -> bool:
        """Takes the next look; true where the loss stands still."""
        fallen = loss < self.lowest - self.tolerance * abs(self.lowest) if self.lowest < float("inf") else True
        self.lowest, self.idle = (loss, 0) if fallen else (self.lowest, self.idle + 1)
        return self.idle >= self.patience


def _line(task: UnlearningTask, details: dict[str, Any]) -> str:
    parts = [f"{', '.join(task.names)} of {len(task.users)} users"]
    return "; ".join([*parts, *(f"{key} {_short(value)}" for key, value in details.items())])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " -> ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
