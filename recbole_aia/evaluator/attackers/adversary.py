"""An attacker of the kind that adversarial training fights, which learns after the training is over."""

from __future__ import annotations

import torch
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.base import Attacker, register_attacker
from recbole_aia.losses.adversaries import Adversaries

_STEPS = 500  # of Adam at 0.01; 2,000 reach nothing more on ml-100k


@register_attacker
class AdversaryAttacker(Attacker):
    """The networks of ``defense: adversarial`` at its defaults, from a new start; their mean probability answers.

    A defense that has won against its own adversaries must win against these. They learn from all users at once, in
    units of their standard deviations, with classes weighted equally.
    """

    name = "adversary"
    most_users = None

    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """See :meth:`Attacker.fit`."""
        points = torch.from_numpy(embeddings).float()
        self._mean, self._scale = points.mean(0), points.std(0, correction=0).clamp_min(1e-8)
        known = torch.from_numpy(classes).long()
        weights = 1 / known.bincount().float()
        self._networks = Adversaries(
            points.shape[1], len(weights), count=5, hidden=8, dropout=0.7, learning_rate=0.01, weight_decay=1e-4,
            class_weights=weights, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        for _ in range(_STEPS):
            self._networks.learn(self._seen(points), known)
        return self

    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """See :meth:`Attacker.predict_proba`."""
        said = self._networks.outputs(self._seen(torch.from_numpy(embeddings).float()))
        answers: FloatArray = said.double().softmax(2).mean(0).numpy()
        return answers

    def _seen(self, points: torch.Tensor) -> torch.Tensor:
        return (points - self._mean) / self._scale
