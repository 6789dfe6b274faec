"""Attackers that compare users by distance or by the density of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.base import EstimatorAttacker, register_attacker
from recbole_aia.evaluator.attackers.together import fit_or_wait

if TYPE_CHECKING:
    from recbole_aia.evaluator.attackers.machines import Machines


class MarginSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""A support vector classifier whose probabilities are a softmax of its margins.

    scikit-learn's own probabilities come from five inner fits (Platt). They take five times as long and are not
    calibrated on small data either. With two classes, the softmax of :math:`(-f, f)` keeps the order of users, so
    the AUC is that of the margin f, and the sign of f remains the answer. With more classes, the softmax is over the
    one-versus-rest decision values, in which confidence breaks ties between the votes of the pairwise machines.

    Args:
        C: price of a user on the wrong side of the margin, > 0.
        class_weight: ``balanced`` for classes that count equally; ``None`` for users that do.
        random_state: seed.
        device: where it computes. On a CPU scikit-learn does; elsewhere torch solves the same problems, many at once.
    """

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device

    def fit(self, X: FloatArray, y: IntArray) -> Self:  # noqa: N803  scikit-learn's name
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present."""
        self.classes_ = np.arange(y.max() + 1)
        if self.device == "cpu":
            from sklearn.svm import SVC

            machine = SVC(C=self.C, class_weight=self.class_weight, random_state=self.random_state).fit(X, y)
            self._margins = machine.decision_function
        else:
            from recbole_aia.evaluator.attackers.machines import MachinesTask, solve_machines

            counts = np.bincount(y)
            weights = len(y) / (len(counts) * counts) if self.class_weight == "balanced" else np.ones(len(counts))
            fit_or_wait(self, MachinesTask(X, y, self.C * weights, self.device), solve_machines)
        return self

    def take(self, found: Machines) -> None:
        """See :class:`~recbole_aia.evaluator.attackers.together.Learner`."""
        self._margins = found.margins

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        margins = self._margins(X)
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], axis=1)
        probabilities: FloatArray = softmax(margins, axis=1)
        return probabilities


@register_attacker
class SvmAttacker(EstimatorAttacker):
    """A support vector machine with an RBF kernel on standardised embeddings, classes weighted equally.

    C (1, 0.1 or 10) is tuned on the training users, 2,000 of them at most.
    """

    name = "svm"
    most_users = 10_000
    uses_device = True
    _standardized = True
    _tuning_users = 2000

    def _estimator(self, n_users: int, seed: int) -> Any:
        return MarginSVC(class_weight="balanced", random_state=seed, device=self.device)

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        return ({"C": 1.0}, {"C": 0.1}, {"C": 10.0})


def naive_bayes(device: str) -> Any:
    """An unfitted classifier by densities of single dimensions: scikit-learn's on a CPU, else its twin for a GPU."""
    if device == "cpu":
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB()
    from recbole_aia.evaluator.attackers.gaussians import DeviceNaiveBayes

    return DeviceNaiveBayes(device)


def gaussians(shrinkage: float, device: str) -> Any:
    """An unfitted :class:`GaussianClassifier`, or its twin for a GPU."""
    if device == "cpu":
        return GaussianClassifier(shrinkage)
    from recbole_aia.evaluator.attackers.gaussians import DeviceGaussians

    return DeviceGaussians(shrinkage, device)


@register_attacker
class NaiveBayesAttacker(EstimatorAttacker):
    """Independent normal densities in every standardised dimension, classes equally likely beforehand."""

    name = "naive_bayes"
    most_users = None
    uses_device = True
    _standardized = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return naive_bayes(self.device)


class GaussianClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Normal densities, one per class, whose covariances lean towards their average.

    .. math:: \Sigma_k = (1 - \lambda) S_k + \lambda \bar S + 10^{-6}\,\tfrac{\operatorname{tr}\bar S}{d} I,
        \qquad \bar S = \tfrac1K \textstyle\sum_k S_k

    Classes are equally likely beforehand. :math:`\lambda = 1` is linear discriminant analysis.
    Log densities that are far apart are divided by one number: probabilities would otherwise round to 1, and users
    could not be ranked. For two classes the order of users stays exactly the same.

    Args:
        shrinkage: :math:`\lambda`, in [0, 1].

    Source:
        Friedman (1989), Regularized discriminant analysis.
    """

    def __init__(self, shrinkage: float = 0.5) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: FloatArray, y: IntArray) -> Self:  # noqa: N803  scikit-learn's name
        """Estimates the densities from ``[n, d]`` and classes ``0..K-1``, each present."""
        self.classes_ = np.arange(y.max() + 1)
        self._means = np.stack([X[y == k].mean(axis=0) for k in self.classes_])
        centered = X - self._means[y]
        own = np.stack([centered[y == k].T @ centered[y == k] / np.sum(y == k) for k in self.classes_])
        shared, d = own.mean(axis=0), X.shape[1]
        ridge = 1e-6 * (np.trace(shared) / d or 1.0)
        covariances = (1 - self.shrinkage) * own + self.shrinkage * shared + ridge * np.eye(d)
        self._precisions = np.linalg.inv(covariances)
        self._log_determinants = np.linalg.slogdet(covariances)[1]
        spread = np.ptp(self._log_densities(X), axis=1).max()
        self._temperature = max(1.0, spread / 30)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        probabilities: FloatArray = softmax(self._log_densities(X) / self._temperature, axis=1)
        return probabilities

    def _log_densities(self, points: FloatArray) -> FloatArray:
        columns = []
        for mean, precision, log_determinant in zip(self._means, self._precisions, self._log_determinants, strict=True):
            offset = points - mean
            columns.append(-0.5 * (np.einsum("nd,nd->n", offset @ precision, offset) + log_determinant))
        return np.stack(columns, axis=1)


@register_attacker
class QuadraticAttacker(EstimatorAttacker):
    """Regularised quadratic discriminant analysis. It reads covariances, which differ even where means are matched.

    The shrinkage (0.5, 0.1 or 0.9) is tuned on the training users.
    """

    name = "quadratic"
    most_users = None
    uses_device = True
    _standardized = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return gaussians(0.5, self.device)

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        return ({"shrinkage": 0.5}, {"shrinkage": 0.1}, {"shrinkage": 0.9})


def neighbors(device: str) -> Any:
    """An unfitted classifier by the five nearest users: scikit-learn's on a CPU, else :class:`DeviceNeighbors`."""
    if device == "cpu":
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier()
    from recbole_aia.evaluator.attackers.nearest import DeviceNeighbors

    return DeviceNeighbors(device=device)


@register_attacker
class KnnAttacker(EstimatorAttacker):
    """Shares of the classes among the nearest users, standardised, each divided by the class's size.

    The number of neighbors (30, 10 or 100, at most half of the training users) is tuned on the training users.
    """

    name = "knn"
    uses_device = True
    _standardized = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return neighbors(self.device)

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        # An inner fit has two thirds of the users, and must have more than it compares with.
        most = max(1, n_users // 2)
        return tuple({"n_neighbors": k} for k in dict.fromkeys(min(k, most) for k in (30, 10, 100)))

    def _probabilities(self, model: Any, embeddings: FloatArray) -> FloatArray:
        last = model[-1]
        shares = super()._probabilities(model, embeddings)
        if not hasattr(last, "n_neighbors"):
            return shares  # there was nothing to learn
        balanced = shares / np.bincount(last._y)
        probabilities: FloatArray = balanced / balanced.sum(axis=1, keepdims=True)
        return probabilities
