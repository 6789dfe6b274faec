"""Boosted trees: faster forms of scikit-learn's, and XGBoost with a budget of trees."""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from typing_extensions import Self

from recbole_aia.config.types import BoolArray, FloatArray, IntArray

#: Values of a dimension that are closer than this are one value to scikit-learn's trees.
_EQUAL_VALUES = 1e-7
_CHUNK_BYTES = 2**18
#: The fewest users for which XGBoost takes less time on a GPU than on the cores of a CPU.
ON_GPU = 50_000


@functools.cache
def xgboost_device(device: str) -> str:
    """Where XGBoost computes if torch computes on ``device``: on the CPU, where XGBoost was built without CUDA."""
    from xgboost import build_info

    return device if device.startswith("cuda") and build_info().get("USE_CUDA") else "cpu"


class BoostedStumps(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""scikit-learn's ``AdaBoostClassifier`` (SAMME on stumps that lower the Gini impurity), users sorted once.

    scikit-learn sorts every dimension again for every stump. Here the order is kept and a round is a cumulative
    sum of the users' weights: with :math:`L_k, R_k` the weight of class k left and right of a split, the one with the
    largest :math:`\sum_k L_k^2 / \sum_k L_k + \sum_k R_k^2 / \sum_k R_k` is taken. The stumps are scikit-learn's;
    ties between splits go to the first dimension instead of a random one. A stump no better than chance
    ends the boosting.

    Args:
        n_estimators: stumps at most, >= 1.
        device: where it computes; torch does so away from the CPU.

    Source:
        Zhu, Zou, Rosset & Hastie (2009), Multi-class AdaBoost.
    """

    def __init__(self, n_estimators: int = 50, device: str = "cpu") -> None:
        self.n_estimators = n_estimators
        self.device = device

    def fit(self, X: FloatArray, y: IntArray, sample_weight: FloatArray | None = None) -> Self:  # noqa: N803
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present, users weighted by ``[n]``."""
        n, n_classes = len(y), int(y.max()) + 1
        self.classes_ = np.arange(n_classes)
        values = np.asarray(X, np.float32)
        order = np.argsort(values, axis=0, kind="stable").T
        ascending = np.take_along_axis(values.T, order, axis=1)
        splits = np.diff(ascending, axis=1) > _EQUAL_VALUES
        weights = np.full(n, 1 / n) if sample_weight is None else sample_weight / sample_weight.sum()
        self._stumps: list[tuple[int, float, int, int, float]] = []
        if self.device != "cpu":
            from recbole_aia.evaluator.attackers.stumps import stumps_on_device

            self._stumps = stumps_on_device(values, y, weights, order, splits, self.n_estimators, self.device)
            return self
        for _ in range(self.n_estimators):
            dimension, place, left, right = _best_split(weights, y, n_classes, order, splits)
            threshold = (float(ascending[dimension, place]) + float(ascending[dimension, place + 1])) / 2
            wrong = np.where(values[:, dimension] <= threshold, left, right) != y
            error = float(weights[wrong].sum())
            if error >= 1 - 1 / n_classes:
                break
            vote = 1.0 if error <= 0 else float(np.log((1 - error) / error) + np.log(n_classes - 1))
            self._stumps.append((dimension, threshold, left, right, vote))
            if error <= 0:
                break
            weights = weights * np.exp(vote * wrong)
            weights /= weights.sum()
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``: a softmax of the mean votes, over K - 1 for K > 2."""
        values, n_classes = np.asarray(X, np.float32), len(self.classes_)
        votes = np.zeros((len(values), n_classes))
        for dimension, threshold, left, right, vote in self._stumps:
            said = np.where(values[:, dimension] <= threshold, left, right)
            votes += np.where(said[:, None] == self.classes_, vote, -vote / (n_classes - 1))
        total = sum(stump[-1] for stump in self._stumps) or 1.0
        probabilities: FloatArray = softmax(votes / (total * (n_classes - 1)), axis=1)
        return probabilities


def _best_split(
    weights: FloatArray, classes: IntArray, n_classes: int, order: IntArray, splits: BoolArray
) -> tuple[int, int, int, int]:
    """The dimension and the place in its order after which to split, and the classes left and right of it.

    Args:
        weights: of users, ``[n]``.
        classes: in ``0..K-1``, ``[n]``.
        n_classes: K.
        order: users by ascending value, ``[d, n]``.
        splits: whether a user's value is lower than the next one's, ``[d, n - 1]``.
    """
    mass = weights * (classes == np.arange(n_classes)[:, None])
    total, chunk = mass.sum(axis=1), max(1, _CHUNK_BYTES // weights.nbytes)
    best, found = -np.inf, (0, 0)
    for start in range(0, len(order), chunk):
        users = order[start : start + chunk, :-1]
        purity = _purity([np.cumsum(each[users], axis=1) for each in mass], total)
        purity[~splits[start : start + chunk]] = -np.inf
        dimension, place = divmod(int(purity.argmax()), purity.shape[1])
        if purity[dimension, place] > best:
            best, found = purity[dimension, place], (start + dimension, place)
    left = mass[:, order[found[0], : found[1] + 1]].sum(axis=1)
    return *found, int(left.argmax()), int((total - left).argmax())


def _purity(left: list[FloatArray], total: FloatArray) -> FloatArray:
    """The quantity that the best split maximises, from the weight of each class left of the split."""
    right = [each - side for each, side in zip(total, left, strict=True)]
    purity = np.zeros_like(left[0])
    for side in (left, right):
        squares, sums = sum(each * each for each in side), sum(side)
        purity += squares / np.maximum(sums, np.finfo(float).tiny)
    return purity


class BudgetedXgboost(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """XGBoost of a hundred rounds, fewer where that makes more than 400 trees, one a round for each class.

    Twenty rounds read occupation (21 classes) from MovieLens-100K factors as well as a hundred (AUC 0.583 and
    0.587, 0.581 for fifty) in a third of the time.

    Args:
        max_depth: of a tree, >= 1.
        learning_rate: share of a tree that is added, in (0, 1].
        random_state: seed.
        device: where XGBoost computes.
    """

    _trees, _least, _most = 400, 10, 100

    def __init__(
        self, max_depth: int = 6, learning_rate: float = 0.3, random_state: int = 0, device: str = "cpu"
    ) -> None:
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device

    def fit(self, X: FloatArray, y: IntArray, sample_weight: FloatArray | None = None) -> Self:  # noqa: N803
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present, users weighted by ``[n]``."""
        from xgboost import XGBClassifier

        self.classes_ = np.arange(int(y.max()) + 1)
        self.n_estimators_ = min(self._most, max(self._least, self._trees // len(self.classes_)))
        self._model = XGBClassifier(
            n_estimators=self.n_estimators_,
            max_depth=self.max_depth,
            learning_rate=self.learning_rate,
            tree_method="hist",
            max_bin=64,
            device=xgboost_device(self.device),
            n_jobs=1,
            random_state=self.random_state,
        ).fit(X, y, sample_weight=sample_weight)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        probabilities: FloatArray = self._model.predict_proba(X)
        return probabilities


class HistogramBoosting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""scikit-learn's ``GradientBoostingClassifier`` on XGBoost's histograms.

    Trees of depth 3 at rate 0.1, leaves without a penalty (a Newton step), starting from the classes' shares.
    With K > 2 classes scikit-learn's leaves are :math:`\tfrac{K-1}{K}` of that step and XGBoost's a half of it: the
    rate compensates for the difference.

    Args:
        n_estimators: trees, for each class where there are more than two; >= 1.
        random_state: seed.
        device: where XGBoost computes.

    Source:
        Friedman (2001), Greedy function approximation.
    """

    def __init__(self, n_estimators: int = 100, random_state: int = 0, device: str = "cpu") -> None:
        self.n_estimators = n_estimators
        self.random_state = random_state
        self.device = device

    def fit(self, X: FloatArray, y: IntArray) -> Self:  # noqa: N803  scikit-learn's name
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present."""
        from xgboost import XGBClassifier

        counts = np.bincount(y)
        self.classes_ = np.arange(len(counts))
        logs = np.log(counts / len(y))
        self._start = logs[1:] - logs[:1] if len(counts) == 2 else logs
        self._model = XGBClassifier(
            n_estimators=self.n_estimators,
            max_depth=3,
            learning_rate=0.1 if len(counts) == 2 else 0.2 * (len(counts) - 1) / len(counts),
            reg_lambda=0,
            min_child_weight=0,
            tree_method="hist",
            device=xgboost_device(self.device),
            n_jobs=1,
            random_state=self.random_state,
        ).fit(X, y, base_margin=self._margins(len(y)))
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        probabilities: FloatArray = self._model.predict_proba(X, base_margin=self._margins(len(X)))
        return probabilities

    def _margins(self, users: int) -> FloatArray:
        return (
            np.broadcast_to(self._start, (users, len(self._start))).squeeze(-1 if len(self._start) == 1 else ()).copy()
        )
