"""Retention: keeps the recommendations while users move, by the model's own loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_aia.errors import AttributeDataError
from recbole_aia.ranks import ranks
from recbole_aia.storage.snapshots import random_states, restore_random
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.targets import Target


class Recommendation:
    """The gradient of the model's own loss, batch by batch, on the interactions of the users who ask.

    Args:
        trainer: the defense.
        target: what moves.
        train_data: RecBole's training loader. Batches come from it epoch after epoch.
    """

    def __init__(self, trainer: Unlearner, target: Target, train_data: Any) -> None:
        self.trainer, self.target = trainer, target
        asked = torch.zeros(trainer.model.n_users, dtype=torch.bool)
        asked[target.users.cpu()] = True
        self.batches = Batches(train_data, trainer.model.USER_ID, asked)

    def gradient(self, embeddings: Tensor) -> list[Tensor]:
        """The gradient of the target's parameters on the next batch; ``embeddings`` are not used."""
        interaction = next(self.batches).to(self.trainer.device)
        here, loss = ranks(), self.trainer.recommendation_loss
        _, gradient = self.target.model_gradient(lambda: here.of_batch(loss, interaction))
        here.add(*gradient)
        return gradient


class Batches:
    """Batches with the interactions of some users alone, without empty batches, endlessly.

    Its state is the place in the loader's epoch: random numbers at the start of the epoch, and batches read since. It
    is brought back by reading as many batches again, because every loader of RecBole can do that.

    Args:
        train_data: RecBole's training loader.
        user_field: the name of the users' field.
        asked: the users, ``[n_users]``.
    """

    def __init__(self, train_data: Any, user_field: str, asked: Tensor) -> None:
        self.train_data, self.user_field, self.asked = train_data, user_field, asked
        self.everybody = bool(asked[1:].all())
        self._begin()

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            AttributeDataError: the users have no training interaction.
        """
        for _ in range(2 * len(self.train_data) + 1):  # every batch of an epoch is among so many, wherever it begins
            interaction = self._read()
            users = interaction[self.user_field]
            rows = None if self.everybody else self.asked.to(users.device)[users]
            if rows is None or rows.any():
                return interaction if rows is None else interaction[rows]
        raise AttributeDataError(
            "none of the users who ask has a training interaction. Unlearn without interactions (data_free)."
        )

    def state(self) -> dict[str, Any]:
        """See :meth:`~recbole_aia.trainer.resuming.Resumable.state`."""
        return {"start": self.start, "read": self.read}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`~recbole_aia.trainer.resuming.Resumable.load_state`."""
        if state["start"] is not None:
            restore_random(state["start"], self._generator)
            self._begin()
            for _ in range(state["read"]):
                self._read()

    @property
    def _generator(self) -> Any:
        return getattr(self.train_data, "generator", None)

    def _begin(self) -> None:
        """Lets the next batch be the first of an epoch, whose random numbers are drawn when it is read."""
        self.start: dict[str, Any] | None = None
        self.read = 0
        self._epoch: Iterator[Any] = iter(())

    def _read(self) -> Any:
        """The next batch of the loader."""
        found = next(self._epoch, None)
        if found is None:
            self.start, self.read = random_states(self._generator), 0
            self._epoch = iter(self.train_data)
            found = next(self._epoch)
        self.read += 1
        return found
