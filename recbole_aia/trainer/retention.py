"""Retention: keeps the recommendations while users move, by the model's own loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from recbole_aia.errors import AttributeDataError
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
        self.batches = _endless(train_data, trainer.model.USER_ID, asked)

    def gradient(self, embeddings: Tensor) -> list[Tensor]:
        """The gradient of the target's parameters on the next batch; ``embeddings`` are not used."""
        interaction = next(self.batches).to(self.trainer.device)
        return self.target.model_gradient(lambda: self.trainer.recommendation_loss(interaction))[1]


def _endless(train_data: Any, user_field: str, asked: Tensor) -> Iterator[Any]:
    """Batches with the interactions of users who ``asked [n_users]`` alone, without empty batches, endlessly."""
    everybody, found = bool(asked[1:].all()), True
    while found:
        found = False
        for interaction in train_data:
            rows = None if everybody else asked[interaction[user_field]]
            if rows is None or rows.any():
                found = True
                yield interaction if rows is None else interaction[rows]
    raise AttributeDataError(
        "none of the users who ask has a training interaction. Unlearn without interactions (data_free)."
    )
