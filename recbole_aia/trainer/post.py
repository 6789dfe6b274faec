"""Defenses after training: they edit the users of a trained model and keep a record of it."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from recbole_aia.data import LabelTable, create_dataset, load_labels
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.targets import Target, intact_on_error, make_target, only_moving

_CHECK = 10  # steps between two looks at the loss

#: A monitored loss, and the gradients of a target's parameters.
Gradients = Callable[[], tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True)
class Request:
    """Whose users and which of their attributes a defense has to hide.

    Attributes:
        users: ids of those who move, ``[n]``.
        labels: ``[n, A]``; -1 where a user has no label, or did not ask for that attribute.
        others: ids of those who stay, ``[m]``.
        other_labels: ``[m, A]``; -1 where there is no label.
        names: the attributes, in column order.
        classes: class names by attribute.
    """

    users: Tensor
    labels: Tensor
    others: Tensor
    other_labels: Tensor
    names: tuple[str, ...]
    classes: dict[str, list[str]]


class Wish(NamedTuple):
    """What some users ask for: attributes, internal ids (``None``: everybody), and since when."""

    attributes: Sequence[str]
    users: Tensor | None = None
    when: str | None = None


class PostTrainer(DefenseTrainer):
    """A defense that takes a trained model and returns it with other users.

    :meth:`fit` is what a run calls; :meth:`unlearn` is the same without RecBole's loaders.

    Attributes:
        history: a record of each unlearning of this model, earlier ones first; it is kept in checkpoints.
    """

    stage: ClassVar[str] = "post"

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.history: list[dict[str, Any]] = []

    @property
    def kept_state(self) -> dict[str, Any]:
        """What checkpoints hold besides RecBole's keys."""
        return {"unlearned": self.history}

    @property
    def uses_interactions(self) -> bool:
        """Whether this defense, as configured, trains on interactions."""
        return False

    @abstractmethod
    def edit(self, request: Request, train_data: Any) -> dict[str, Any]:
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
            labels = self._load_labels(train_data)
            attributes = attributes or list(self.config["attributes"])
        who = None if users is None else torch.as_tensor(users, dtype=torch.long, device="cpu")
        return self.serve([Wish(attributes or labels.names, who)], labels, train_data)[0]

    def serve(self, wishes: Sequence[Wish], labels: LabelTable, train_data: Any = None) -> list[dict[str, Any]]:
        """Serves several wishes in one unlearning; see :meth:`unlearn`. Their order does not change the result."""
        self.labels = labels
        request = self._request(wishes)
        self.model.eval()
        with intact_on_error(self.model):
            details = self.edit(request, train_data)
        self.view.clear_caches()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        records = [
            {
                "defense": self.defense,
                "attributes": list(wish.attributes),
                "users": None if wish.users is None else wish.users.tolist(),
                "when": wish.when or now,
                **details,
            }
            for wish in wishes
        ]
        self.history.extend(records)
        self.logger.info(f"{self.defense}: {_line(request, details)}")
        return records

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
        labels = load_labels(self.config, train_data.dataset)
        self.unlearn(train_data if self.uses_interactions else None, labels=labels)
        if valid_data:
            self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data, show_progress)
        if saved:
            self._save_checkpoint(0, verbose=verbose)
        return self.best_valid_score, self.best_valid_result

    def target(self, request: Request) -> Target:
        """What moves, by the key ``target``."""
        return make_target(self.view, request.users, self.config["target"])

    def descend(self, target: Target, gradients: Gradients) -> dict[str, Any]:
        """Adam steps until the monitored loss stands still.

        Args:
            target: what moves.
            gradients: called for each step.

        Returns:
            ``steps``, and whether the loss ``converged`` before they ran out.

        Raises:
            ConfigValueError: the loss is no longer finite.
        """
        config = self.config
        rate = config["unlearn_learning_rate"] * target.scale()
        optimizer = torch.optim.Adam(target.parameters, lr=rate)
        plateau, step, converged = Plateau(config["unlearn_tolerance"], config["unlearn_patience"]), 0, False
        with only_moving(self.model, target):
            while step < config["unlearn_max_steps"] and not converged:
                loss, moves = self._checked(gradients)
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

    def _checked(self, gradients: Gradients) -> tuple[Tensor, list[Tensor]]:
        try:
            return gradients()
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise ConfigValueError(
                f"{self.defense}: a covariance has become singular. Lower unlearn_learning_rate, or write "
                "--attrcloak_covariance=ledoit_wolf."
            ) from error

    def _check_finite(self, values: Tensor) -> None:
        if not values.isfinite().all():
            raise ConfigValueError(f"{self.defense}: the users are no longer finite. Lower unlearn_learning_rate.")

    def _load_labels(self, train_data: Any) -> LabelTable:
        """Labels of the configured attributes, and of those that were hidden earlier."""
        wanted, config = self.config["attributes"], copy.copy(self.config)
        earlier = [name for record in self.history for name in record["attributes"]]
        given = wanted if isinstance(wanted, dict) else dict.fromkeys(wanted or [])
        config.final_config_dict = {**config.final_config_dict, "attributes": {**dict.fromkeys(earlier), **given}}
        return load_labels(config, create_dataset(config) if train_data is None else train_data.dataset)

    def _request(self, wishes: Sequence[Wish]) -> Request:
        """Everybody who asks now, with what they ask for now and asked for before."""
        labels, everyone = self.labels, self.view.users.cpu()
        asked = torch.cat([everyone if wish.users is None else wish.users for wish in wishes]).unique()
        if not len(asked) or asked[0] < 1 or asked[-1] >= len(labels.labels):
            raise ConfigValueError(f"users must be ids from 1 to {len(labels.labels) - 1}, and at least one of them.")
        earlier = [
            Wish(record["attributes"], None if record["users"] is None else torch.tensor(record["users"]))
            for record in self.history
        ]
        hidden = torch.full_like(labels.labels, -1)
        for wish in [*wishes, *earlier]:
            who = everyone if wish.users is None else wish.users
            for name in set(wish.attributes) & set(labels.names):
                column = labels.names.index(name)
                hidden[who, column] = labels.labels[who, column]
        kept = (hidden[asked] >= 0).any(0).nonzero().squeeze(1)
        names = tuple(labels.names[column] for column in kept)
        missing = [name for wish in wishes for name in wish.attributes if name not in names]
        if missing:
            raise AttributeDataError(f"none of the {len(asked)} users has a label of '{missing[0]}'. Leave it out.")
        stays = torch.ones(len(labels.labels), dtype=torch.bool)
        stays[0], stays[asked] = False, False
        others = stays.nonzero().squeeze(1)
        device = self.device
        return Request(
            users=asked.to(device),
            labels=hidden[asked][:, kept].to(device),
            others=others.to(device),
            other_labels=labels.labels[others][:, kept].to(device),
            names=names,
            classes={name: labels.classes[name] for name in names},
        )


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


def _line(request: Request, details: dict[str, Any]) -> str:
    parts = [f"{', '.join(request.names)} of {len(request.users)} users"]
    return "; ".join([*parts, *(f"{key} {_short(value)}" for key, value in details.items())])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " -> ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
