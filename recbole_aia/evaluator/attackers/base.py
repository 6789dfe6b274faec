"""The contract of an attacker, and the base class of attackers built on a scikit-learn classifier."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from typing_extensions import Self

from recbole_aia.config.registry import load_guests
from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator.attackers.inner import InnerScores, inner_folds, mean_auc
from recbole_aia.evaluator.draws import draw_users
from recbole_aia.evaluator.metrics import advantage

_TUNING_FOLDS = 3


class Job(NamedTuple):
    """The arguments of one fit; see :meth:`Attacker.fit`."""

    embeddings: FloatArray
    classes: IntArray
    seed: int


class Attacker(ABC):
    """A classifier that infers one attribute from embeddings.

    ``fit`` may be called again and then forgets what it saw before. Equal data and an equal seed
    give equal predictions, and no global random state is read or written.
    """

    #: The attacker's name in configurations and results.
    name: ClassVar[str]
    #: The most users it learns from, for attackers whose time or memory grows fast with users; None for no limit.
    most_users: ClassVar[int | None] = 20_000
    #: Whether one :meth:`fit_many` takes less time than the same fits one by one.
    fits_together: ClassVar[bool] = False
    #: Whether it computes on ``device``; other attackers always compute on the CPU.
    uses_device: ClassVar[bool] = False
    #: Where it computes, as torch names it.
    device: str = "cpu"

    @classmethod
    def fit_many(cls, jobs: Sequence[Job], device: str = "cpu") -> list[Self]:
        """Fits one attacker for each job; fitting several together changes each of them by rounding at most."""
        fitted = []
        for job in jobs:
            attacker = cls()
            attacker.device = device
            fitted.append(attacker.fit(*job))
        return fitted

    @abstractmethod
    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """Learns from the users whose attribute is known.

        Args:
            embeddings: ``[n, d]``, finite.
            classes: ``[n]``, in ``0..K-1``, each present.
            seed: in ``[0, 2**31)``; the only source of randomness.
        """

    @abstractmethod
    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """Class probabilities, ``[m, K]``; rows sum to 1 and column k belongs to class k."""

    def predict(self, embeddings: FloatArray) -> IntArray:
        """The most probable class, ``[m]``; ties go to the lower class."""
        predicted: IntArray = np.argmax(self.predict_proba(embeddings), axis=1)
        return predicted


_REGISTRY: dict[str, type[Attacker]] = {}


AttackerClass = TypeVar("AttackerClass", bound=type[Attacker])


def register_attacker(attacker: AttackerClass, *, replace: bool = False) -> AttackerClass:
    """Offers an attacker by its ``name``, in configurations and to the evaluator; also a class decorator.

    Args:
        attacker: a subclass of :class:`Attacker` with all its methods and a name.
        replace: whether it takes over a name that another class has.

    Returns:
        The class itself.

    Raises:
        ConfigValueError: what is given is no such class, or another class has its name.
    """
    if not (isinstance(attacker, type) and issubclass(attacker, Attacker)):
        raise ConfigValueError(f"{attacker!r} is no attacker. Give a subclass of recbole_aia.evaluator.Attacker.")
    lacking = sorted(getattr(attacker, "__abstractmethods__", ()))
    if lacking:
        raise ConfigValueError(f"the attacker {attacker.__name__} lacks {' and '.join(lacking)}. Define them.")
    name = getattr(attacker, "name", None)
    if not isinstance(name, str) or not name.strip():
        raise ConfigValueError(
            f'the attacker {attacker.__name__} has the name {name!r}. Give it a text: name = "mine".'
        )
    other = _REGISTRY.get(name)
    if other not in (None, attacker) and not replace:
        raise ConfigValueError(
            f"the attacker '{name}' is already {other.__module__}.{other.__qualname__}. Choose another name, or take "
            "this one over: register_attacker(..., replace=True)."
        )
    _REGISTRY[name] = attacker
    return attacker


def registered_attackers() -> dict[str, type[Attacker]]:
    """The attackers on offer by name, in the order of registration."""
    load_guests()
    return dict(_REGISTRY)


class EstimatorAttacker(Attacker):
    """What attackers built on a scikit-learn classifier share: scaling, balancing and tuning.

    All three use the training users only. Tuning takes the setting with the largest advantage in three inner folds.
    As in the result, answers below chance count as an advantage.
    """

    #: Whether every embedding dimension is scaled by the training users' mean and deviation.
    _standardized: ClassVar[bool] = False
    #: How classes are made to count equally: by weighting users, by drawing as many users of every class as
    #: the smallest has, or not at all (also where the estimator itself takes care of it).
    _balance: ClassVar[Literal["none", "weights", "undersample"]] = "none"
    #: The most users on whom settings are compared, drawn by class; None for all.
    _tuning_users: ClassVar[int | None] = None

    _model: Any

    @abstractmethod
    def _estimator(self, n_users: int, seed: int) -> Any:
        """An unfitted classifier for ``n_users`` training users."""

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        """The parameters to choose from; the first wins ties, and where a class is too small for inner folds."""
        return ({},)

    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """Learns from the users whose attribute is known; see :meth:`Attacker.fit`."""
        job = Job(embeddings, classes, seed)
        self._model = self._fitted(self._best(job), job)
        return self

    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """Class probabilities; see :meth:`Attacker.predict_proba`."""
        return self._probabilities(self._model, embeddings)

    def _probabilities(self, model: Any, embeddings: FloatArray) -> FloatArray:
        probabilities: FloatArray = model.predict_proba(embeddings)
        return probabilities

    def _best(self, job: Job) -> dict[str, Any]:
        grid = self._grid(len(job.classes))
        if len(grid) == 1:
            return grid[0]
        drawn = draw_users(job.classes, self._tuning_users, job.seed)
        embeddings, classes = job.embeddings[drawn], job.classes[drawn]
        folds = inner_folds(classes, _TUNING_FOLDS, job.seed)
        if not folds:
            return grid[0]
        tries = [(options, Job(embeddings[known], classes[known], job.seed)) for options in grid for known, _ in folds]
        models = list(self._fitted_many(tries))
        gains = []
        for start in range(0, len(models), len(folds)):
            own = models[start : start + len(folds)]
            scores = [self._probabilities(model, embeddings[rows]) for model, (_, rows) in zip(own, folds, strict=True)]
            gains.append(float(advantage(mean_auc(classes, InnerScores.of(folds, scores)))))
        return grid[gains.index(max(gains))]

    def _fitted_many(self, jobs: Iterable[tuple[dict[str, Any], Job]]) -> Iterable[Any]:
        """A fitted model for each pair of parameters and job. Subclasses may fit several at once."""
        return (self._fitted(options, job) for options, job in jobs)

    def _fitted(self, options: dict[str, Any], job: Job) -> Any:
        from sklearn.dummy import DummyClassifier
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        embeddings, classes, seed = job
        estimator = self._estimator(len(classes), seed).set_params(**options)
        if not np.ptp(embeddings, axis=0).any():
            # All users have the same embedding: there is nothing to learn, and some estimators fail on it.
            estimator = DummyClassifier(strategy="prior")
        model = make_pipeline(*([StandardScaler()] if self._standardized else []), estimator)
        weights = {}
        if self._balance == "undersample":
            rows = _fewest_rows(classes, seed)
            embeddings, classes = embeddings[rows], classes[rows]
        elif self._balance == "weights":
            weights[f"{model.steps[-1][0]}__sample_weight"] = _equal_weights(classes)
        with warnings.catch_warnings():
            # The limit on iterations is part of these attackers' definition; a fit may reach it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(embeddings, classes, **weights)


def _equal_weights(classes: IntArray) -> FloatArray:
    counts = np.bincount(classes)
    weights: FloatArray = len(classes) / (len(counts) * counts[classes])
    return weights


def _fewest_rows(classes: IntArray, seed: int) -> IntArray:
    members, rng = _members(classes), np.random.default_rng(seed)
    smallest = min(map(len, members))
    return np.sort(np.concatenate([rng.choice(rows, smallest, replace=False) for rows in members]))


def _members(classes: IntArray) -> list[IntArray]:
    return [np.flatnonzero(classes == k) for k in range(classes.max() + 1)]
