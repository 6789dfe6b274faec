"""Repeated stratified cross-validation of attackers, in parallel and reproducible."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm  # type: ignore[import-untyped]

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers import Attacker
from recbole_aia.evaluator.attackers.base import Job
from recbole_aia.evaluator.draws import draw_users, leaked_users
from recbole_aia.evaluator.labels import AttackedAttribute


@dataclass(frozen=True)
class HeldOut:
    """One attacker's answers about users that it had not seen, for one attribute.

    Attributes:
        attribute: the attribute.
        attacker: the attacker's name.
        scores: class probabilities, ``[repeats, n, K]``.
        fold_of: the fold that held out each user, ``[repeats, n]``.
        seconds: fitting and predicting, summed over folds and processes.
        leak_ratio: share of all users that the attacker may learn from in a fold, in (0, 1).
        training_users: the most users that it learned from in a fold.
    """

    attribute: AttackedAttribute
    attacker: str
    scores: FloatArray
    fold_of: IntArray
    seconds: float
    leak_ratio: float
    training_users: int


class _Cell(NamedTuple):
    """One task: fits an attacker for an attribute and a leak ratio, in some folds of a repeat, on a device."""

    attribute: int
    ratio: float
    attacker: type[Attacker]
    repeat: int
    folds: tuple[int, ...]
    device: str = "cpu"

    @property
    def key(self) -> tuple[int, float, str]:
        return self.attribute, self.ratio, self.attacker.name


class Kept(Protocol):
    """Answers of cells that are done, by name, for an evaluation that goes on after an interruption."""

    def get(self, name: str) -> dict[str, Any] | None:
        """The answer of a cell; ``None`` if it is not there."""

    def put(self, name: str, answer: dict[str, Any]) -> None:
        """Keeps the answer of a cell: ``scores``, a list of arrays; ``users`` and ``seconds``, numbers."""


def task_seed(seed: int, *parts: str | int) -> int:
    """The seed of one task. It depends on the names given, not on order, process or Python's hash.

    Args:
        seed: the run's seed, >= 0.
        parts: what the task is about: attribute, attacker, repeat, fold.

    Returns:
        In ``[0, 2**31)``, which scikit-learn and xgboost both take.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)


def assign_folds(attribute: AttackedAttribute, folds: int, repeats: int, seed: int) -> IntArray:
    """Stratified folds, ``[repeats, n]``, the same for every attacker and state."""
    from sklearn.model_selection import StratifiedKFold

    fold_of = np.empty((repeats, len(attribute.codes)), dtype=np.int64)
    for repeat in range(repeats):
        splitter = StratifiedKFold(folds, shuffle=True, random_state=task_seed(seed, attribute.name, "folds", repeat))
        for fold, (_, held_out) in enumerate(splitter.split(attribute.codes, attribute.codes)):
            fold_of[repeat, held_out] = fold
    return fold_of


def cross_validate(
    embeddings: FloatArray | Sequence[FloatArray],
    attributes: Sequence[AttackedAttribute],
    attackers: Sequence[type[Attacker]],
    *,
    folds: int,
    repeats: int,
    seed: int,
    n_jobs: int,
    leak_ratios: Sequence[float] | None = None,
    device: str = "cpu",
    show_progress: bool = False,
    kept: Kept | None = None,
) -> list[HeldOut]:
    """Lets every attacker attack every attribute.

    Every repeat holds out each user once, in the same folds for every ratio. Attackers learn from all users outside
    the fold, or from a seeded, stratified draw of them: where the ratio is smaller, or where an attacker takes fewer
    (:attr:`Attacker.most_users`).

    Args:
        embeddings: ``[n_users, d]``, finite; or some for each attribute.
        attributes: the attributes.
        attackers: attacker classes.
        folds: >= 2.
        repeats: >= 1.
        seed: >= 0.
        n_jobs: processes, >= 1; the results do not depend on it.
        leak_ratios: shares of the users that attackers learn from, in ``(0, (folds - 1) / folds]``; None for all
            users outside the fold.
        device: for attackers that use one, as torch names it. Away from the CPU these are not spread over processes,
            and compute while processes do the rest.
        show_progress: whether a bar counts the fits on stderr.
        kept: fits that are done already, by a key of all that decides them; new ones are added.

    Returns:
        One entry for each attribute, within it each ratio, and within that each attacker.
    """
    points = [embeddings] * len(attributes) if isinstance(embeddings, np.ndarray) else embeddings
    fold_of = [assign_folds(attribute, folds, repeats, seed) for attribute in attributes]
    ratios = leak_ratios or [(folds - 1) / folds]
    sizes = [len(attribute.codes) for attribute in attributes]
    cells = _cells(sizes, ratios, attackers, repeats, folds, device)
    names = {} if kept is None else _names(cells, points, attributes, fold_of, seed)
    found = {} if kept is None else {cell: kept.get(name) for cell, name in names.items()}
    done = {cell: answer for cell, answer in found.items() if answer is not None}
    to_do = [cell for cell in cells if cell not in done]
    apart = [cell for cell in to_do if cell.device != "cpu"]
    spread = [cell for cell in to_do if cell.device == "cpu"]

    def tasks(some: list[_Cell]) -> Iterator[Any]:
        for cell in some:
            attribute, held_out = attributes[cell.attribute], fold_of[cell.attribute][cell.repeat]
            share = None if cell.ratio > (folds - 1) / folds - 1e-9 else cell.ratio
            yield delayed(_attack)(cell, points[cell.attribute], attribute, held_out, share, seed)

    # Batches of one keep slow fits from queueing behind each other and the bar moving. Processes begin here, and what
    # computes on a device does so beside them.
    jobs = max(1, min(n_jobs, len(spread)))
    beside = Parallel(n_jobs=jobs, batch_size=1, return_as="generator")(tasks(spread))
    answers = chain(Parallel(n_jobs=1, return_as="generator")(tasks(apart)), beside)
    said = {
        (index, ratio, attacker.name): np.empty((repeats, len(attribute.codes), len(attribute.class_names)))
        for index, attribute in enumerate(attributes)
        for ratio in ratios
        for attacker in attackers
    }
    seconds, learned = dict.fromkeys(said, 0.0), dict.fromkeys(said, 0)
    with tqdm(total=len(said) * repeats * folds, desc="Attack", unit="fit", disable=not show_progress) as bar:
        for cell, answer in chain(done.items(), zip(apart + spread, answers, strict=True)):
            for fold, scores in zip(cell.folds, answer["scores"], strict=True):
                said[cell.key][cell.repeat, fold_of[cell.attribute][cell.repeat] == fold] = scores
            seconds[cell.key] += answer["seconds"]
            learned[cell.key] = max(learned[cell.key], answer["users"])
            bar.update(len(cell.folds))
            if kept is not None and cell not in done:
                kept.put(names[cell], answer)
    return [
        HeldOut(attributes[key[0]], key[2], scores, fold_of[key[0]], seconds[key], key[1], learned[key])
        for key, scores in said.items()
    ]


def _names(
    cells: Sequence[_Cell],
    embeddings: Sequence[FloatArray],
    attributes: Sequence[AttackedAttribute],
    fold_of: Sequence[IntArray],
    seed: int,
) -> dict[_Cell, str]:
    """A name of each cell: SHA-256 over all that decides its answer."""
    distinct = {id(each): each for each in embeddings}
    vectors = {key: hashlib.sha256(repr(each.shape).encode() + each.tobytes()) for key, each in distinct.items()}
    names = {}
    for cell in cells:
        attribute, digest = attributes[cell.attribute], vectors[id(embeddings[cell.attribute])].copy()
        for part in (attribute.users, attribute.codes, fold_of[cell.attribute][cell.repeat]):
            digest.update(np.ascontiguousarray(part).tobytes())
        attacker = f"{cell.attacker.__module__}.{cell.attacker.__qualname__} {_code(cell.attacker)}"
        words = (attribute.name, attacker, cell.attacker.name, cell.ratio, cell.repeat, cell.folds, seed, cell.device)
        digest.update(repr(words).encode())
        names[cell] = digest.hexdigest()
    return names


@functools.cache
def _code(attacker: type[Attacker]) -> str:
    """A digest of the files that define an attacker and its bases: another attacker of the same name is another one."""
    digest = hashlib.sha256()
    for kind in attacker.__mro__[:-1]:
        try:
            digest.update(inspect.getsource(inspect.getmodule(kind) or kind).encode())
        except (OSError, TypeError):  # written by hand in a session, so known to this process alone
            digest.update(f"{os.getpid()} {id(kind)}".encode())
    return digest.hexdigest()


def _cells(
    sizes: Sequence[int],
    ratios: Sequence[float],
    attackers: Sequence[type[Attacker]],
    repeats: int,
    folds: int,
    device: str = "cpu",
) -> list[_Cell]:
    """All fits, repeat by repeat and fold by fold, so that the progress bar can foretell the time that is left.

    Attackers that are fitted together have all folds of a repeat in one cell. These cells are spread over the folds.
    On a GPU all are fitted together. Attackers with too few users for one stay on the CPU.

    Args:
        sizes: users of each attribute.
        ratios: shares of them to learn from.
        attackers: attacker classes.
        repeats: >= 1.
        folds: >= 2.
        device: for attackers that use one.
    """
    columns = [
        (index, ratio, attacker, attacker.where(device, int(ratio * sizes[index])))
        for index, ratio, attacker in product(range(len(sizes)), ratios, attackers)
    ]
    cells = []
    together = [column for column in columns if column[2].fits_together or column[3] != "cpu"]
    # Protocols name the slowest attackers last. They begin, so that at the end no process is left alone with one.
    apart = [column for column in reversed(columns) if column not in together]
    for repeat, fold in product(range(repeats), range(folds)):
        cells += [_Cell(*column[:3], repeat, tuple(range(folds)), column[3]) for column in together[fold::folds]]
        cells += [_Cell(*column[:3], repeat, (fold,), column[3]) for column in apart]
    return cells


def _attack(
    cell: _Cell,
    embeddings: FloatArray,
    attribute: AttackedAttribute,
    fold_of: IntArray,
    share: float | None,
    seed: int,
) -> dict[str, Any]:
    """The answer of a cell: ``scores`` of the users in each fold, most ``users`` learned from, and ``seconds``."""
    start = time.perf_counter()
    with _one_thread():
        jobs = []
        for fold in cell.folds:
            rows = _known(attribute, fold_of, fold, share, seed, cell.repeat)
            own_seed = task_seed(seed, attribute.name, cell.attacker.name, cell.repeat, fold)
            rows = rows[draw_users(attribute.codes[rows], cell.attacker.most_users, task_seed(own_seed, "users"))]
            jobs.append(Job(embeddings[attribute.users[rows]], attribute.codes[rows], own_seed))
        fitted = cell.attacker.fit_many(jobs, cell.device)
        scores = [
            attacker.predict_proba(embeddings[attribute.users[fold_of == fold]])
            for attacker, fold in zip(fitted, cell.folds, strict=True)
        ]
    users = max(len(job.classes) for job in jobs)
    return {"scores": scores, "users": users, "seconds": time.perf_counter() - start}


def _known(
    attribute: AttackedAttribute, fold_of: IntArray, fold: int, share: float | None, seed: int, repeat: int
) -> IntArray:
    """Positions of the users that may be learned from; the same for all attackers."""
    known = fold_of != fold
    if share is None:
        return np.flatnonzero(known)
    return leaked_users(attribute.codes, known, share, task_seed(seed, attribute.name, "leak", repeat, fold))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread everywhere: sums then have one order, whatever the number of processes.

    Only libraries that are loaded by now are limited. Those of scikit-learn's thread pool come with ``sklearn.base``,
    which the attackers' modules import; XGBoost, loaded by the first fit, is told ``n_jobs=1``.
    """
    threads = torch.get_num_threads()
    try:
        with threadpool_limits(1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(threads)
