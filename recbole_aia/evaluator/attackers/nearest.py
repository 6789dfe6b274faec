"""The nearest users, where torch computes."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray

_DISTANCES = 2**26  # distances that are computed at a time


class DeviceNeighbors(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's ``KNeighborsClassifier`` by brute force, for a GPU.

    Args:
        n_neighbors: how many users are asked, >= 1.
        device: where torch computes.
    """

    def __init__(self, n_neighbors: int = 5, device: str = "cpu") -> None:
        self.n_neighbors = n_neighbors
        self.device = device

    def fit(self, X: FloatArray, y: IntArray) -> Self:  # noqa: N803  scikit-learn's name
        """Keeps ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present."""
        self.classes_, self._y = np.arange(y.max() + 1), y
        self._users = torch.as_tensor(X, dtype=torch.float64, device=self.device)
        self._indicators = torch.eye(len(self.classes_), dtype=torch.float64)[torch.as_tensor(y)].to(self.device)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """The shares of the classes among the nearest users, ``[m, K]``."""
        points = torch.as_tensor(X, dtype=torch.float64, device=self.device)
        squares, shares = self._users.square().sum(1), []
        for part in points.split(max(1, _DISTANCES // len(self._users))):
            # The square of a user's own length is the same for all neighbors.
            nearest = (squares - 2 * part @ self._users.t()).topk(self.n_neighbors, largest=False).indices
            shares.append(self._indicators[nearest].mean(1))
        found: FloatArray = torch.cat(shares).cpu().numpy()
        return found
