"""Repeated stratified cross-validation of attackers, in parallel and reproducible."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm  # type: ignore[import-untyped]

from recbole_aia.evaluator.attackers import Attacker
from recbole_aia.evaluator.labels import Target

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

#: Training users of attackers whose time or memory grows too fast with their number; see :func:`training_limit`.
MOST_TRAINING_USERS = 20_000
_SCALABLE = frozenset({"logistic", "xgboost"})
_LEAST_OF_A_CLASS = 50


@dataclass(frozen=True)
class HeldOut:
    """What one attacker said about the users it had not seen, for one attribute.

    Attributes:
        target: the attribute.
        attacker: the attacker's name.
        scores: class probabilities, ``[repeats, n, K]``.
        fold_of: the fold that held out each user, ``[repeats, n]``.
        seconds: fitting and predicting, summed over folds and processes.
    """

    target: Target
    attacker: str
    scores: FloatArray
    fold_of: IntArray
    seconds: float


def task_seed(seed: int, *parts: str | int) -> int:
    """A seed for one task that depends on its name only, not on order, process or Python's hash.

    Args:
        seed: the run's seed, >= 0.
        parts: what the task is about: attribute, attacker, repeat, fold.

    Returns:
        In ``[0, 2**31)``, which scikit-learn and xgboost both take.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)


def assign_folds(target: Target, folds: int, repeats: int, seed: int) -> IntArray:
    """Stratified folds, ``[repeats, n]``, the same for every attacker and state."""
    fold_of = np.empty((repeats, len(target.codes)), dtype=np.int64)
    for repeat in range(repeats):
        splitter = StratifiedKFold(folds, shuffle=True, random_state=task_seed(seed, target.name, "folds", repeat))
        for fold, (_, held_out) in enumerate(splitter.split(target.codes, target.codes)):
            fold_of[repeat, held_out] = fold
    return fold_of


def training_limit(attacker: type[Attacker]) -> int | None:
    """How many users an attacker learns from at most; ``None`` for one that can take any number.

    An attacker says so by a class attribute ``most_users``. Where it says nothing, logistic regression and
    XGBoost take all, and the others (networks, kernels, neighbours) 20,000.
    """
    default = None if attacker.name in _SCALABLE else MOST_TRAINING_USERS
    limit: int | None = getattr(attacker, "most_users", default)
    return limit


def draw_users(classes: IntArray, limit: int | None, seed: int) -> IntArray:
    """Draws users to learn from, each class in proportion but none below 50 members if it has them.

    Args:
        classes: in ``0..K-1``, ``[n]``.
        limit: users to draw, >= 50 K; ``None`` for all.
        seed: >= 0.

    Returns:
        Their positions, ascending; all where ``n <= limit``.
    """
    if limit is None or len(classes) <= limit:
        return np.arange(len(classes))
    counts = np.bincount(classes)
    quotas = np.maximum(counts * limit // len(classes), np.minimum(counts, _LEAST_OF_A_CLASS))
    quotas[counts.argmax()] -= max(0, int(quotas.sum()) - limit)
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(np.flatnonzero(classes == k), quota, replace=False) for k, quota in enumerate(quotas)]
    return np.sort(np.concatenate(drawn))


def cross_validate(
    embeddings: FloatArray,
    targets: Sequence[Target],
    attackers: Sequence[type[Attacker]],
    *,
    folds: int,
    repeats: int,
    seed: int,
    n_jobs: int,
    show_progress: bool = False,
) -> list[HeldOut]:
    """Lets every attacker attack every attribute.

    All users are held out once a repeat and judged; attackers that do not scale learn from a seeded,
    stratified draw of the others (:func:`training_limit`).

    Args:
        embeddings: ``[n_users, d]``, finite.
        targets: the attributes.
        attackers: attacker classes.
        folds: >= 2.
        repeats: >= 1.
        seed: >= 0.
        n_jobs: processes, >= 1; the results do not depend on it.
        show_progress: whether a bar counts the fits on stderr.

    Returns:
        One entry for each target and, within it, each attacker.
    """
    fold_of = [assign_folds(target, folds, repeats, seed) for target in targets]
    cells = [
        (index, attacker, repeat, fold)
        for index in range(len(targets))
        for attacker in attackers
        for repeat in range(repeats)
        for fold in range(folds)
    ]
    tasks = (
        delayed(_attack_fold)(
            attacker,
            embeddings,
            targets[index],
            fold_of[index][repeat] == fold,
            task_seed(seed, targets[index].name, attacker.name, repeat, fold),
        )
        for index, attacker, repeat, fold in cells
    )
    # Batches of one keep slow fits from queueing behind each other and the bar moving.
    answers = Parallel(n_jobs=min(n_jobs, len(cells)), batch_size=1, return_as="generator")(tasks)
    results = {
        (index, attacker.name): HeldOut(
            target,
            attacker.name,
            np.empty((repeats, len(target.codes), len(target.class_names))),
            fold_of[index],
            0.0,
        )
        for index, target in enumerate(targets)
        for attacker in attackers
    }
    seconds = dict.fromkeys(results, 0.0)
    bar = tqdm(answers, total=len(cells), desc="Attack", unit="fit", disable=not show_progress)
    for (index, attacker, repeat, fold), (scores, spent) in zip(cells, bar, strict=True):
        key = (index, attacker.name)
        results[key].scores[repeat, fold_of[index][repeat] == fold] = scores
        seconds[key] += spent
    return [
        HeldOut(done.target, done.attacker, done.scores, done.fold_of, seconds[key]) for key, done in results.items()
    ]


def _attack_fold(
    attacker: type[Attacker],
    embeddings: FloatArray,
    target: Target,
    held_out: NDArray[np.bool_],
    seed: int,
) -> tuple[FloatArray, float]:
    start = time.perf_counter()
    # One thread everywhere: sums then have one order, whatever the number of processes.
    with threadpool_limits(1):
        known, classes = target.users[~held_out], target.codes[~held_out]
        drawn = draw_users(classes, training_limit(attacker), task_seed(seed, "users"))
        fitted = attacker().fit(embeddings[known[drawn]], classes[drawn], seed)
        scores = fitted.predict_proba(embeddings[target.users[held_out]])
    return scores, time.perf_counter() - start
