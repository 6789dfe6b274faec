"""A term of one attribute in training: which users take part in a step, and whether the attribute is at chance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import ChanceStop

_LOOK_USERS = 1024  # users at which the stop at chance looks


class AttributeTerm(ABC):
    """Draws labelled users evenly, and stops at chance where the key ``calibrate`` asks for it.

    Draws have a generator of their own, so that the training's other random numbers stay what they are without it.
    A subclass that keeps more from step to step adds it to :meth:`state`.

    Args:
        trainer: the defense; its labels are there.
        attribute: the attribute's name.
        most: most users in a step.
        takes_part: ``[n_users]``, whether a user takes part beside having a label; ``None``: everybody does.

    Attributes:
        users: ids of the users who take part, ``[n]``.
        classes: their classes, numbered from 0 without gaps, ``[n]``.
        sizes: of the classes.
    """

    def __init__(self, trainer: DefenseTrainer, attribute: str, most: int, takes_part: Tensor | None = None) -> None:
        column, seed = trainer.labels.column(attribute), int(trainer.config["seed"])
        known = column >= 0 if takes_part is None else (column >= 0) & takes_part
        users = known.nonzero().squeeze(1)
        self.name, self.trainer, self.most = f"{trainer.defense} {attribute}", trainer, most
        # A class without users has no distribution, so the others are numbered without gaps.
        _, classes, self.sizes = column[users].unique(return_inverse=True, return_counts=True)
        self.users, self.classes = users.to(trainer.device), classes.to(trainer.device)
        self.generator = torch.Generator().manual_seed(seed)
        self.looked_at = torch.randperm(len(users), generator=self.generator)[:_LOOK_USERS].to(trainer.device)
        self.stop: ChanceStop | None = None

    def start_epoch(self, epoch: int) -> None:
        """Fits the stop at chance to where users are now."""
        if self.trainer.config["calibrate"]:
            users, classes = self.users[self.looked_at], self.classes[self.looked_at]
            seed = int(self.trainer.config["seed"])
            self.stop = ChanceStop(lambda: self.trainer.view.served(users), classes.unsqueeze(1), seed=seed)

    @abstractmethod
    def __call__(self) -> Tensor:
        """The weighted term for one step, a scalar."""

    def draw(self) -> Tensor:
        """Places in :attr:`users` of this step's users: all, or ``most`` of them drawn without repetition."""
        if len(self.users) <= self.most:
            return torch.arange(len(self.users), device=self.users.device)
        drawn = torch.randperm(len(self.users), generator=self.generator)[: self.most]
        return drawn.to(self.users.device)

    def state(self) -> dict[str, Any]:
        """See :meth:`Resumable.state`; the stop at chance is fitted anew in each epoch, and needs none."""
        return {"generator": self.generator.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Resumable.load_state`."""
        self.generator.set_state(state["generator"])

    def at_chance(self) -> bool:
        """Whether the attribute is at chance and the defense is to leave it alone. Call it once in a step."""
        return self.stop is not None and not self.stop.above()
