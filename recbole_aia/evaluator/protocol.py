"""Repeated stratified cross-validation of attackers, in parallel and reproducible."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers import Attacker
from recbole_aia.evaluator.fits import Cell, Fits, all_cells, task_seed
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


class Kept(Protocol):
    """Answers of cells that are done, by name, for an evaluation that goes on after an interruption."""

    def get(self, name: str) -> dict[str, Any] | None:
        """The answer of a cell; ``None`` if it is not there."""

    def put(self, name: str, answer: dict[str, Any]) -> None:
        """Keeps the answer of a cell: ``scores``, a list of arrays; ``users`` and ``seconds``, numbers."""


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
    n_jobs: int | None,
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
        n_jobs: processes, >= 1; ``None`` for one per core. The results do not depend on it.
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
    cells = all_cells(sizes, ratios, attackers, repeats, folds, device)
    names = {} if kept is None else _names(cells, points, attributes, fold_of, seed)
    found = {} if kept is None else {cell: kept.get(name) for cell, name in names.items()}
    done = {cell: answer for cell, answer in found.items() if answer is not None}
    to_do = [cell for cell in cells if cell not in done]
    answers = Fits(to_do, points, attributes, fold_of, folds, seed, n_jobs).answers()
    said = {
        (index, ratio, attacker.name): np.empty((repeats, len(attribute.codes), len(attribute.class_names)))
        for index, attribute in enumerate(attributes)
        for ratio in ratios
        for attacker in attackers
    }
    seconds, learned = dict.fromkeys(said, 0.0), dict.fromkeys(said, 0)
    with tqdm(total=len(said) * repeats * folds, desc="Attack", unit="fit", disable=not show_progress) as bar:
        for cell, answer in chain(done.items(), answers):
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
    cells: Sequence[Cell],
    embeddings: Sequence[FloatArray],
    attributes: Sequence[AttackedAttribute],
    fold_of: Sequence[IntArray],
    seed: int,
) -> dict[Cell, str]:
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
