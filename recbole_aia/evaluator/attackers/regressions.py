"""Logistic regressions, many at once, where torch computes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.blocks import in_blocks
from recbole_aia.evaluator.attackers.together import fit_or_wait

_TOLERANCE = 1e-6  # a regression is done where its slope, for a mean loss, is below this in every weight
_STEPS, _LOOK = 500, 10  # most steps, and steps between two looks at the slopes
_COPIES = 4  # arrays of the users' size that a regression holds at a time


@dataclass(frozen=True, eq=False)
class RegressionTask:
    """A regression to be fitted.

    Attributes:
        points: ``[n, d]``.
        classes: in ``0..K-1``, ``[n]``.
        weights: of the users, ``[n]``.
        price: C, what the users' losses count against half the squared length of the weights, > 0.
        device: where torch computes.
    """

    points: FloatArray
    classes: IntArray
    weights: FloatArray
    price: float
    device: str

    @property
    def kind(self) -> Hashable:
        """See :class:`~recbole_aia.evaluator.attackers.together.Task`."""
        return self.device, self.points.shape[1], int(self.classes.max())


class DeviceLogistic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""scikit-learn's ``LogisticRegression``, several at once, for a GPU.

    .. math:: \min_{B, b} \; C \sum_i w_i \bigl(\log \textstyle\sum_k e^{z_{ik}} - z_{i y_i}\bigr)
        + \tfrac12 \lVert B \rVert^2, \qquad z_i = B^\top x_i + b

    With two classes the lower one has no weights. The curvature is nowhere larger than a fixed matrix. So each step is
    a solved system of equations; the steps are accelerated, and start anew where they lead upwards.

    Args:
        C: as above, > 0.
        device: where torch computes.

    Source:
        Böhning (1992) for the bound; Nesterov (1983); O'Donoghue and Candès (2015) for the new start.
    """

    def __init__(self, C: float = 1.0, device: str = "cpu") -> None:  # noqa: N803
        self.C = C
        self.device = device

    def fit(self, X: FloatArray, y: IntArray, sample_weight: FloatArray | None = None) -> Self:  # noqa: N803
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present, users weighted by ``[n]``."""
        self.classes_ = np.arange(y.max() + 1)
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        fit_or_wait(self, RegressionTask(X, y, weights, self.C, self.device), solve_regressions)
        return self

    def take(self, found: FloatArray) -> None:
        """See :class:`~recbole_aia.evaluator.attackers.together.Learner`."""
        self.coef_, self.intercept_ = found[:-1], found[-1]

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        logits = X @ self.coef_ + self.intercept_
        if len(self.classes_) == 2:
            second = expit(logits)
            return np.hstack([1 - second, second])
        probabilities: FloatArray = softmax(logits, axis=1)
        return probabilities


def solve_regressions(tasks: Sequence[RegressionTask]) -> list[FloatArray]:
    """Weights ``[d + 1, K]`` of each task, one column where K is 2; the last row is b."""
    sizes = [8 * _COPIES * task.points.shape[0] * (task.points.shape[1] + 1) for task in tasks]
    return in_blocks(tasks, sizes, _solved, tasks[0].device)


@torch.no_grad()
def _solved(tasks: Sequence[RegressionTask]) -> list[FloatArray]:
    points, targets, weights = _stacked(tasks)
    two, width = targets.shape[2] == 1, points.shape[2]
    penalty = torch.ones(width, 1).to(points)
    penalty[-1] = 0
    # The losses' sums are divided by C times the weights' sum, which makes slopes of means of them.
    scale = 1 / torch.tensor([task.price * task.weights.sum() for task in tasks]).to(points).view(-1, 1, 1)
    shares = weights / weights.sum(1, keepdim=True)
    bound = (shares * points).transpose(1, 2) @ points * (0.25 if two else 0.5) + scale * torch.diag(penalty[:, 0])
    factor = torch.linalg.cholesky(bound)
    found = ahead = points.new_zeros(len(tasks), width, targets.shape[2])
    age = torch.zeros_like(scale)
    for step in range(_STEPS):
        logits = points @ ahead
        wrong = (logits.sigmoid() if two else logits.softmax(2)) - targets
        slope = points.transpose(1, 2) @ (wrong * shares) + scale * penalty * ahead
        if step % _LOOK == _LOOK - 1 and float(slope.abs().max()) < _TOLERANCE:
            break
        before, found = found, ahead - torch.cholesky_solve(slope, factor)
        upwards = (slope * (found - before)).sum((1, 2), keepdim=True) > 0
        age = (age + 1).masked_fill(upwards, 0)
        ahead = found + age / (age + 3) * (found - before)
    return list(found.cpu().numpy())


def _stacked(tasks: Sequence[RegressionTask]) -> tuple[Tensor, Tensor, Tensor]:
    """Users with a 1 as one more entry ``[B, n, d + 1]``, targets ``[B, n, K]``, and weights ``[B, n, 1]``.

    Places that a task does not fill have weight 0.
    """
    longest, n_classes = max(len(task.classes) for task in tasks), int(tasks[0].classes.max()) + 1
    shape = len(tasks), longest
    points, weights = np.zeros((*shape, tasks[0].points.shape[1] + 1)), np.zeros((*shape, 1))
    targets = np.zeros((*shape, n_classes))
    for row, task in enumerate(tasks):
        n = len(task.classes)
        points[row, :n, :-1], points[row, :n, -1], weights[row, :n, 0] = task.points, 1, task.weights
        targets[row, np.arange(n), task.classes] = 1
    if n_classes == 2:
        targets = targets[:, :, 1:]
    moved = (torch.as_tensor(each, device=tasks[0].device) for each in (points, targets, weights))
    return tuple(moved)  # type: ignore[return-value]
