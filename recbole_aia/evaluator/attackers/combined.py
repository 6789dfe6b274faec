"""Attackers built on other attackers: one weighs their answers, one reverses answers that come out backwards."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax
from typing_extensions import Self

from recbole_aia.config.types import BoolArray, FloatArray, IntArray
from recbole_aia.evaluator.attackers.base import Attacker, EstimatorAttacker, Job, register_attacker
from recbole_aia.evaluator.attackers.densities import MarginSVC, gaussians
from recbole_aia.evaluator.attackers.inner import InnerScores, inner_folds, mean_auc
from recbole_aia.evaluator.attackers.networks import LogisticAttacker, MlpAttacker
from recbole_aia.evaluator.attackers.trees import TunedXgboostAttacker
from recbole_aia.evaluator.metrics import advantage

#: Inner folds: five, and three for more than 2,000 users, which takes half of the time.
_INNER_FOLDS, _INNER_FOLDS_OF_MANY, _FEW_USERS = 5, 3, 2000


class _PlainSvm(EstimatorAttacker):
    name = "svm, not tuned"
    uses_device = True
    _standardized = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return MarginSVC(class_weight="balanced", random_state=seed, device=self.device)


class _PlainQuadratic(EstimatorAttacker):
    name = "quadratic, not tuned"
    uses_device = True
    _standardized = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return gaussians(0.5, self.device)


class _ShallowXgboost(TunedXgboostAttacker):
    name = "xgboost, shallow"

    def _grid(self, n_users: int) -> tuple[dict[str, Any], ...]:
        return ({"max_depth": 3, "learning_rate": 0.1},)


_Answers = tuple[InnerScores | None, ...]


def _held_out(bases: Sequence[type[Attacker]], jobs: Sequence[Job], device: str) -> list[_Answers]:
    """For each job, every base's answers about the known users, each from a fit that did not see the user."""
    folds, parts = [], []
    for embeddings, classes, seed in jobs:
        most = _INNER_FOLDS if len(classes) <= _FEW_USERS else _INNER_FOLDS_OF_MANY
        folds.append(inner_folds(classes, most, seed))
        parts += [Job(embeddings[known], classes[known], seed) for known, _ in folds[-1]]
    found = []
    for fitted in map(iter, _fitted(bases, parts, device)):
        answers = [
            InnerScores.of(own, [next(fitted).predict_proba(job.embeddings[others]) for _, others in own])
            for job, own in zip(jobs, folds, strict=True)
        ]
        found.append(answers)
    return list(zip(*found, strict=True))


def _fitted(bases: Sequence[type[Attacker]], jobs: Sequence[Job], device: str) -> list[list[Attacker]]:
    """For each base, one attacker for each job. What stays on the CPU works while the others use the device."""
    places = [base.where(device, min((len(job.classes) for job in jobs), default=0)) for base in bases]
    if {*places} <= {"cpu"}:
        return [list(base.fit_many(jobs)) for base in bases]
    with ThreadPoolExecutor() as threads:
        beside = {
            base: [threads.submit(base.fit_many, [job]) for job in jobs]
            for base, place in zip(bases, places, strict=True)
            if place == "cpu"
        }
        away = {base: list(base.fit_many(jobs, device)) for base in bases if base not in beside}
        return [away[base] if base in away else [fit.result()[0] for fit in beside[base]] for base in bases]


@register_attacker
class FlipAwareAttacker(Attacker):
    r"""Learns on inner folds whether to invert its answers, class by class.

    A defense that makes the classes equal over all users leaves the known and the unknown users with opposite
    differences between the classes, so answers about the unknown users come out reversed. The same happens within
    the known users, so inner folds show it. Of logistic regression, quadratic discriminant analysis and an RBF
    machine, the attacker takes the one with the largest advantage in five inner folds (three for more than 2,000
    users). Where its held-out :math:`AUC_k < 1/2`, it sets

    .. math:: z_k \mapsto -z_k, \qquad z_k = \log p_k - \tfrac1K \textstyle\sum_j \log p_j ,

    and a softmax makes them probabilities again; with two classes the result is :math:`1 - p_k`. (The simpler
    :math:`1 - p_k` divided by the sum of its row would turn a single inverted class of three into a constant.)
    """

    name = "flip_aware"
    uses_device = True
    _bases: ClassVar[tuple[type[Attacker], ...]] = (LogisticAttacker, _PlainQuadratic, _PlainSvm)

    @classmethod
    def fit_many(cls, jobs: Sequence[Job], device: str = "cpu") -> list[Self]:
        """One fitted attacker for each job; see :meth:`Attacker.fit_many`."""
        attackers = cls._made(len(jobs), device)
        for attacker, job, answers in zip(attackers, jobs, _held_out(cls._bases, jobs, device), strict=True):
            attacker._learn(job, answers)
        return attackers

    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """Learns from the users whose attribute is known; see :meth:`Attacker.fit`."""
        job = Job(embeddings, classes, seed)
        self._learn(job, _held_out(self._bases, [job], self.device)[0])
        return self

    def _learn(self, job: Job, inner: Sequence[InnerScores | None]) -> None:
        aucs = [mean_auc(job.classes, answers) for answers in inner]
        best = int(np.argmax([advantage(auc) for auc in aucs]))
        self._inverted = aucs[best] < 0.5
        (self._base,) = self._bases[best].fit_many([job], self.device)

    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """Class probabilities; see :meth:`Attacker.predict_proba`."""
        return invert(self._base.predict_proba(embeddings), self._inverted)


def invert(probabilities: FloatArray, inverted: BoolArray) -> FloatArray:
    """Reverses the order of users in some columns.

    Args:
        probabilities: ``[m, K]``, rows sum to 1.
        inverted: which classes, ``[K]``.

    Returns:
        ``[m, K]``, rows sum to 1.
    """
    if not inverted.any():
        return probabilities
    logs = _centered_logs(probabilities)
    turned: FloatArray = softmax(np.where(inverted, -logs, logs), axis=1)
    return turned


@register_attacker
class EnsembleAttacker(Attacker):
    """A logistic regression on the held-out answers of five attackers.

    The five are logistic regression, quadratic discriminant analysis, an RBF machine, the scaled network and
    shallow boosted trees. Their answers enter as centred log probabilities, classes weighted equally. A weight may
    be negative, so an attacker that is always wrong helps too. Where a class has a single member, who cannot be held
    out, the five answers are averaged.

    Source:
        Wolpert (1992), Stacked generalization.
    """

    name = "ensemble"
    uses_device = True
    _bases: ClassVar[tuple[type[Attacker], ...]] = (
        LogisticAttacker,
        _PlainQuadratic,
        _PlainSvm,
        MlpAttacker,
        _ShallowXgboost,
    )

    @classmethod
    def fit_many(cls, jobs: Sequence[Job], device: str = "cpu") -> list[Self]:
        """One fitted attacker for each job; see :meth:`Attacker.fit_many`."""
        attackers = cls._made(len(jobs), device)
        answers = _held_out(cls._bases, jobs, device)
        fitted = zip(*_fitted(cls._bases, jobs, device), strict=True)
        for attacker, job, inner, own in zip(attackers, jobs, answers, fitted, strict=True):
            attacker._judge, attacker._fitted = _judge(job, inner), list(own)
        return attackers

    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """Learns from the users whose attribute is known; see :meth:`Attacker.fit`."""
        job = Job(embeddings, classes, seed)
        self._judge = _judge(job, _held_out(self._bases, [job], self.device)[0])
        self._fitted = [own for (own,) in _fitted(self._bases, [job], self.device)]
        return self

    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """Class probabilities; see :meth:`Attacker.predict_proba`."""
        answers = [attacker.predict_proba(embeddings) for attacker in self._fitted]
        if self._judge is None:
            mean: FloatArray = np.mean(answers, axis=0)
            return mean
        judged: FloatArray = self._judge.predict_proba(np.hstack([_centered_logs(answer) for answer in answers]))
        return judged


def _judge(job: Job, inner: Sequence[InnerScores | None]) -> Any:
    """The regression on held-out answers; ``None`` where nobody could be held out."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    said = [_centered_logs(each.scores) for each in inner if each is not None]
    if not said:
        return None
    judge = LogisticRegression(C=0.1, class_weight="balanced", max_iter=300, random_state=job.seed)
    return make_pipeline(StandardScaler(), judge).fit(np.hstack(said), job.classes)


def _centered_logs(probabilities: FloatArray) -> FloatArray:
    logs = np.log(np.clip(probabilities, 1e-15, None))
    centered: FloatArray = logs - logs.mean(axis=1, keepdims=True)
    return centered
