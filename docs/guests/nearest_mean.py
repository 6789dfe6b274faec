"""An attacker that asks whose mean is nearest."""

import numpy as np

from recbole_aia import Attacker, register_attacker


@register_attacker
class NearestMean(Attacker):
    """Takes a user for a member of the class whose mean is nearest."""

    name = "nearest_mean"

    def fit(self, embeddings: np.ndarray, classes: np.ndarray, seed: int) -> "NearestMean":
        self.means = np.stack([embeddings[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
        return self

    def predict_proba(self, embeddings: np.ndarray) -> np.ndarray:
        distances = ((embeddings[:, None] - self.means) ** 2).sum(axis=2)
        nearness = np.exp(distances.min(axis=1, keepdims=True) - distances)
        return nearness / nearness.sum(axis=1, keepdims=True)
