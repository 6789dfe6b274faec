"""An attacker of the kind that adversarial training fights, which learns after the training is over."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Self

from recbole_aia import Attacker
from recbole_aia.losses import Adversaries

_STEPS = 500  # of Adam at 0.01; 2,000 reach nothing more on ml-100k


class FreshAdversary(Attacker):
    """The networks of ``--defense=adversarial`` at its defaults, from a new start; their mean probability answers."""

    name = "fresh_adversary"
    most_users = None

    def fit(self, embeddings: NDArray[np.float64], classes: NDArray[np.int64], seed: int) -> Self:
        """Learns on all users at once, in units of their standard deviations, classes weighted equally."""
        points = torch.from_numpy(embeddings).float()
        self._mean, self._scale = points.mean(0), points.std(0).clamp_min(1e-8)
        known = torch.from_numpy(classes)
        weights = 1 / known.bincount().float()
        self._networks = Adversaries(
            points.shape[1], len(weights), count=5, hidden=8, dropout=0.7, learning_rate=0.01, weight_decay=1e-4,
            class_weights=weights, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        for _ in range(_STEPS):
            self._networks.learn(self._seen(points), known)
        return self

    def predict_proba(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean over the networks, ``[n, K]``."""
        said = self._networks.outputs(self._seen(torch.from_numpy(embeddings).float()))
        return said.softmax(2).mean(0).double().numpy()

    def _seen(self, points: torch.Tensor) -> torch.Tensor:
        return (points - self._mean) / self._scale
