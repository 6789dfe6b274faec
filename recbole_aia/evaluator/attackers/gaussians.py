"""Normal densities of classes, where torch computes."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray

_SMOOTHING = 1e-9  # of the largest variance, added to all; scikit-learn's
_TALLEST = 30  # log densities further apart than this are divided by one number, as on a CPU


class DeviceGaussians(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """:class:`~recbole_aia.evaluator.attackers.densities.GaussianClassifier` for a GPU.

    Args:
        shrinkage: see there.
        device: where torch computes.
    """

    def __init__(self, shrinkage: float = 0.5, device: str = "cpu") -> None:
        self.shrinkage = shrinkage
        self.device = device

    def fit(self, X: FloatArray, y: IntArray) -> Self:  # noqa: N803  scikit-learn's name
        """Estimates the densities from ``[n, d]`` and classes ``0..K-1``, each present."""
        points, classes = _moved(X, self.device), torch.as_tensor(y, device=self.device)
        self.classes_ = np.arange(y.max() + 1)
        members = [points[classes == k] for k in range(len(self.classes_))]
        self._means = torch.stack([own.mean(0) for own in members])
        own = torch.stack([(each - mean).t() @ (each - mean) / len(each) for each, mean in zip(members, self._means)])  # noqa: B905
        shared, d = own.mean(0), points.shape[1]
        ridge = 1e-6 * (float(shared.trace()) / d or 1.0)
        covariances = torch.lerp(own, shared, self.shrinkage) + ridge * torch.eye(d).to(points)
        self._precisions, self._log_determinants = torch.linalg.inv(covariances), torch.linalg.slogdet(covariances)[1]
        densities = self._log_densities(points)
        self._temperature = max(1.0, float((densities.amax(1) - densities.amin(1)).max()) / _TALLEST)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        densities = self._log_densities(_moved(X, self.device)) / self._temperature
        found: FloatArray = densities.softmax(1).cpu().numpy()
        return found

    def _log_densities(self, points: Tensor) -> Tensor:
        columns = []
        for mean, precision, log_determinant in zip(self._means, self._precisions, self._log_determinants, strict=True):
            offset = points - mean
            columns.append(-0.5 * ((offset @ precision * offset).sum(1) + log_determinant))
        return torch.stack(columns, dim=1)


class DeviceNaiveBayes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's ``GaussianNB`` for a GPU.

    Args:
        device: where torch computes.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def fit(self, X: FloatArray, y: IntArray, sample_weight: FloatArray | None = None) -> Self:  # noqa: N803
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present, users weighted by ``[n]``."""
        self.classes_ = np.arange(y.max() + 1)
        points = _moved(X, self.device)
        weights = _moved(np.ones(len(y)) if sample_weight is None else sample_weight, self.device)
        members = torch.nn.functional.one_hot(torch.as_tensor(y, device=self.device)).t() * weights
        sizes = members.sum(1, keepdim=True)
        self._means = members @ points / sizes
        around = [row @ (points - mean).square() for row, mean in zip(members, self._means, strict=True)]
        self._variances = torch.stack(around) / sizes + _SMOOTHING * points.var(0, correction=0).max()
        self._shares = (sizes / sizes.sum()).squeeze(1)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        points, columns = _moved(X, self.device), []
        for mean, variances, share in zip(self._means, self._variances, self._shares, strict=True):
            distances = ((points - mean).square() / variances).sum(1)
            columns.append(share.log() - 0.5 * ((2 * torch.pi * variances).log().sum() + distances))
        found: FloatArray = torch.stack(columns, dim=1).softmax(1).cpu().numpy()
        return found


def _moved(values: FloatArray, device: str) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=device)
