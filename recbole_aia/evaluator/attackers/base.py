"""The contract of an attacker, and the base class of attackers built on a scikit-learn classifier."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from typing_extensions import Self

from recbole_aia.config.registry import load_guests
from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator.attackers.inner import Fold, InnerScores, inner_folds, mean_auc
from recbole_aia.evaluator.attackers.together import trained_together
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
    #: The fewest users to learn from for which a GPU takes less time than the cores of a CPU do together.
    device_users: ClassVar[int] = 2048
    #: Where it computes, as torch names it.
    device: str = "cpu"

    @classmethod
    def fit_many(cls, jobs: Sequence[Job], device: str = "cpu") -> list[Self]:
        """Fits one attacker for each job; fitting several together changes each of them by rounding at most."""
        return [attacker.fit(*job) for attacker, job in zip(cls._made(len(jobs), device), jobs, strict=True)]

    @classmethod
    def where(cls, device: str, n_users: int) -> str:
        """``device`` for an attacker that uses one and gains from it with so many users, else ``cpu``."""
        return device if cls.uses_device and n_users >= cls.device_users else "cpu"

    @classmethod
    def _made(cls, count: int, device: str) -> list[Self]:
        """Attackers that have not learned yet."""
        attackers = [cls() for _ in range(count)]
        for attacker in attackers:
            attacker.device = device
        return attackers

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


class _Trial(NamedTuple):
    """The settings of a grid, to be compared on inner folds of a job's users; without folds, the first is taken."""

    grid: Sequence[dict[str, Any]]
    job: Job
    folds: Sequence[Fold]

    def tries(self) -> Iterator[tuple[dict[str, Any], Job]]:
        """Each setting with the users of each fold."""
        embeddings, classes, seed = self.job
        for options in self.grid:
            for known, _ in self.folds:
                yield options, Job(embeddings[known], classes[known], seed)


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

    @classmethod
    def fit_many(cls, jobs: Sequence[Job], device: str = "cpu") -> list[Self]:
        """One fitted attacker for each job; see :meth:`Attacker.fit_many`."""
        pairs = list(zip(cls._made(len(jobs), device), jobs, strict=True))
        # A GPU has room for the tries of all jobs side by side, a core's cache for those of one.
        groups = [[pair] for pair in pairs] if device == "cpu" else [pairs]
        chosen = [options for group in groups for options in cls._best(group)]
        with trained_together():
            for (attacker, job), options in zip(pairs, chosen, strict=True):
                attacker._model = attacker._fitted(options, job)
        return [attacker for attacker, _ in pairs]

    def fit(self, embeddings: FloatArray, classes: IntArray, seed: int) -> Self:
        """Learns from the users whose attribute is known; see :meth:`Attacker.fit`."""
        job = Job(embeddings, classes, seed)
        (options,) = self._best([(self, job)])
        with trained_together():
            self._model = self._fitted(options, job)
        return self

    def predict_proba(self, embeddings: FloatArray) -> FloatArray:
        """Class probabilities; see :meth:`Attacker.predict_proba`."""
        return self._probabilities(self._model, embeddings)

    def _probabilities(self, model: Any, embeddings: FloatArray) -> FloatArray:
        probabilities: FloatArray = model.predict_proba(embeddings)
        return probabilities

    @staticmethod
    def _best(pairs: Sequence[tuple[EstimatorAttacker, Job]]) -> list[dict[str, Any]]:
        """The setting that each attacker takes for its job."""
        trials = [attacker._trial(job) for attacker, job in pairs]
        with trained_together():
            models = [
                [attacker._fitted(options, job) for options, job in trial.tries()]
                for (attacker, _), trial in zip(pairs, trials, strict=True)
            ]
        return [
            trial.grid[attacker._strongest(trial, own)]
            for (attacker, _), trial, own in zip(pairs, trials, models, strict=True)
        ]

    def _trial(self, job: Job) -> _Trial:
        grid = self._grid(len(job.classes))
        if len(grid) == 1:
            return _Trial(grid, job, [])
        drawn = draw_users(job.classes, self._tuning_users, job.seed)
        classes = job.classes[drawn]
        return _Trial(
            grid, Job(job.embeddings[drawn], classes, job.seed), inner_folds(classes, _TUNING_FOLDS, job.seed)
        )

    def _strongest(self, trial: _Trial, models: Sequence[Any]) -> int:
        """The place in the grid of the setting with the largest advantage; the first, where nothing was tried."""
        (embeddings, classes, _), folds = trial.job, trial.folds
        if not models:
            return 0
        gains = []
        for start in range(0, len(models), len(folds)):
            own = models[start : start + len(folds)]
            scores = [self._probabilities(model, embeddings[rows]) for model, (_, rows) in zip(own, folds, strict=True)]
            gains.append(float(advantage(mean_auc(classes, InnerScores.of(folds, scores)))))
        return gains.index(max(gains))

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
