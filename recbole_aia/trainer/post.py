"""Defenses after training: they edit the users of a trained model and record every edit."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Key
from recbole_aia.data import LabelTable, create_dataset, defense_labels
from recbole_aia.data.numbering import refuse_other_users
from recbole_aia.errors import ConfigValueError
from recbole_aia.ranks import ranks
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.defended_keys import DEFENDED_KEYS
from recbole_aia.trainer.post_keys import TARGET
from recbole_aia.trainer.resuming import Descent, Plateau, Resumable
from recbole_aia.trainer.targets import Target, intact_on_error, make_target, only_moving
from recbole_aia.unlearning.requests import Request, UnlearningTask, make_task, specifications

__all__ = ["Gradients", "Plateau", "Unlearner", "UnlearningTask"]

Result = TypeVar("Result")
_CHECK = 10  # steps between two looks at the loss; a look waits for the device

#: Returns the monitored loss and the gradients of a target's parameters, or ``None`` if nothing is left to do.
Gradients = Callable[[], tuple[Tensor, list[Tensor]] | None]


class Unlearner(DefenseTrainer):
    """A defense that changes the users of a trained model.

    A run calls :meth:`fit`. Other programs call :meth:`unlearn`, which needs no loaders of RecBole.
    """

    stage: ClassVar[str] = "post"
    shared_keys: ClassVar[Mapping[str, Key]] = {**DEFENDED_KEYS, "target": TARGET}
    #: What :meth:`checked` advises besides, a sentence with a blank before it.
    when_singular: ClassVar[str] = ""

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of all unlearning of this model, the earliest first.

        The model holds the records (``model.unlearned``), and checkpoints keep them. Internal ids name the users.
        """
        if not hasattr(self.model, "unlearned"):
            self.model.unlearned = []
        records: list[dict[str, Any]] = self.model.unlearned
        return records

    @property
    def kept_state(self) -> dict[str, Any]:
        """The values that checkpoints hold besides RecBole's keys."""
        return {"unlearned": self.history}

    @property
    def uses_interactions(self) -> bool:
        """Whether this defense, as configured, trains on interactions."""
        return False

    @property
    def by_label(self) -> bool:
        """Whether a user moves by the user's own label, so that a user without one cannot move."""
        return True

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """Whether the defense can hide an attribute, given how many users of each class ask.

        A later request also hides what its users asked to hide earlier. If the defense cannot hide an earlier attribute
        of these users, the request leaves the attribute out, with a warning.

        Args:
            asked: number of users who ask, by class, ``[K]``.
            others: number of users who do not ask, by class, ``[K]``.
        """
        return bool(asked.any())

    @abstractmethod
    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """Edits the users of ``task`` and returns details for the record, as plain data.

        Args:
            task: the users who move, and the labels to hide.
            train_data: RecBole's training loader; ``None`` for data-free unlearning.
        """

    def unlearn(
        self,
        train_data: Any = None,
        *,
        labels: LabelTable | None = None,
        attributes: Sequence[str] | None = None,
        users: Tensor | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Hides attributes of users; attributes that they asked to hide before stay hidden.

        Args:
            train_data: RecBole's training loader; ``None`` for data-free unlearning, which uses no interaction.
            labels: the users' labels. ``None`` reads them from the dataset's ``.user`` file. Without ``train_data``
                the dataset is read as well, but only for its users' ids.
            attributes: the attributes of ``labels`` to hide now; ``None`` means all.
            users: RecBole's internal ids of the users who ask; ``None`` means all users. The vectors of all other users
                stay bit for bit the same.

        Returns:
            The record, which is also appended to :attr:`history`.

        Raises:
            AttributeDataError: none of ``users`` has a label, or the labels are of other users than the model's.
            ConfigValueError: the model does not have one of ``users``, or the defense needs ``train_data``.
        """
        if labels is None:
            labels = self.load_labels(None if train_data is None else train_data.dataset)
            attributes = attributes or list(self.config["attributes"])
        who = None if users is None else torch.as_tensor(users, dtype=torch.long, device="cpu")
        return self.serve([Request(attributes or labels.names, who)], labels, train_data)[0]

    def serve(self, requests: Sequence[Request], labels: LabelTable, train_data: Any = None) -> list[dict[str, Any]]:
        """Serves several requests in one unlearning; see :meth:`unlearn`. The order of requests does not matter."""
        refuse_other_users(labels.users, self.model)
        self.labels = labels
        task = make_task(requests, self.history, labels, self.device, self.can_hide, self.by_label)
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
        """The labels of the configured attributes and of the attributes hidden earlier; see :func:`defense_labels`.

        Args:
            dataset: RecBole's dataset, which has the users' ids; ``None`` reads it again.
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
        self.note_names(train_data.dataset)
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

    def descend(self, target: Target, gradients: Gradients, parts: Sequence[Resumable] | None = None) -> dict[str, Any]:
        """Takes steps until the monitored loss stops falling, nothing is left to do, or the steps run out.

        Args:
            target: what moves.
            gradients: returns the loss and the gradients of a step.
            parts: all that ``gradients`` keeps from step to step, so that an interrupted unlearning goes on from its
                last steps; ``None`` if that is not known, and it begins anew.

        Returns:
            The number of ``steps``, and whether the loss ``converged``.

        Raises:
            ConfigValueError: the loss is no longer finite.
        """
        config = self.config
        optimizer = self._optimizer(target)
        plateau, step, converged = Plateau(config["unlearn_tolerance"], config["unlearn_patience"]), 0, False
        snapshots = None if parts is None else self.snapshots
        here = Descent(target, optimizer, [plateau, *(parts or ())])
        # RecBole's fit leaves torch's anomaly detection on, which would raise torch's own error for a loss of NaN.
        with only_moving(self.model, target), torch.autograd.set_detect_anomaly(False):
            if (kept := ranks().told(lambda: None if snapshots is None else snapshots.last())) is not None:
                step, converged = here.go_on(kept)
                self.logger.info(f"{self.defense}: the interrupted unlearning goes on from step {step}")
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
                    if snapshots is not None and snapshots.due:
                        snapshots.save(here.state(step, converged))
            for parameter in target.parameters:
                parameter.grad = None
            self._check_finite(torch.cat([parameter.detach().sum().view(1) for parameter in target.parameters]))
            target.finish()
        return {"steps": step, "converged": converged}

    def _optimizer(self, target: Target) -> torch.optim.Optimizer:
        rate, relative = self.config["unlearn_learning_rate"], self.config["unlearn_relative"]
        groups = [
            {"params": [parameter], "lr": rate * scale if relative else rate}
            for parameter, scale in zip(target.parameters, target.scales(), strict=True)
        ]
        plain = self.config["unlearn_optimizer"] == "gd"
        return torch.optim.SGD(groups) if plain else torch.optim.Adam(groups)

    def checked(self, compute: Callable[[], Result]) -> Result:
        """Returns ``compute()``; raises :class:`ConfigValueError` if it finds a singular covariance."""
        try:
            return compute()
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise ConfigValueError(
                f"{self.defense}: a matrix has become singular.{self.when_singular} Lower unlearn_learning_rate."
            ) from error

    def _check_finite(self, values: Tensor) -> None:
        if not values.isfinite().all():
            lower = "Lower unlearn_learning_rate." if "unlearn_learning_rate" in self.keys else "Is the model trained?"
            raise ConfigValueError(f"{self.defense}: the users are no longer finite. {lower}")


def _line(task: UnlearningTask, details: dict[str, Any]) -> str:
    parts = [f"{', '.join(task.names)} of {len(task.users)} users"]
    return "; ".join([*parts, *(f"{key} {_short(value)}" for key, value in details.items())])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " -> ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
