"""The fits of a cross-validation: what each of them is, and which process computes it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product
from logging import getLogger
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers import Attacker
from recbole_aia.evaluator.attackers.base import Job
from recbole_aia.evaluator.draws import draw_users, leaked_users
from recbole_aia.evaluator.labels import AttackedAttribute
from recbole_aia.launch import place
from recbole_aia.ranks import Ranks, crew, followers


class Cell(NamedTuple):
    """One task: fits an attacker for an attribute and a leak ratio, in some folds of a repeat, on a device."""

    attribute: int
    ratio: float
    attacker: type[Attacker]
    repeat: int
    folds: tuple[int, ...]
    device: str = "cpu"

    @property
    def key(self) -> tuple[int, float, str]:
        """What cells of the same attack have in common: attribute, ratio, and the attacker's name."""
        return self.attribute, self.ratio, self.attacker.name


@dataclass(frozen=True)
class Fits:
    """Cells to be fitted, and all that decides their answers; a :class:`~recbole_aia.ranks.Work`.

    The processes of the run that follow this one compute a part each. Answers depend neither on their number nor on
    ``n_jobs``.

    Attributes:
        cells: in the order in which they begin.
        points: the embeddings of each attribute, ``[n_users, d]``.
        attributes: the attributes.
        fold_of: of each attribute the fold that holds out each user, ``[repeats, n]``.
        folds: >= 2.
        seed: >= 0.
        n_jobs: processes that each process of the run starts, >= 1; ``None``: one for each of its cores.
    """

    cells: Sequence[Cell]
    points: Sequence[FloatArray]
    attributes: Sequence[AttackedAttribute]
    fold_of: Sequence[IntArray]
    folds: int
    seed: int
    n_jobs: int | None

    def answers(self) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """Each cell with its answer, as they come; see :func:`_attack`."""
        if not self.cells:
            return iter(())
        group = followers()
        if group.count > 1:
            group.told(lambda: self)
            counts = [sum(len(cell.folds) for cell in part) for part in dealt(self.cells, group.count)]
            getLogger().info(f"Attack: {sum(counts)} fits, dealt to {group.count} processes: {counts}")
        return group.merged(self._part(group))

    def along(self, config: Any, dataset: Any) -> None:
        """See :meth:`recbole_aia.ranks.Work.along`."""
        own = self._part(crew(), str(config["device"]))
        for _ in crew().merged(own):
            pass

    def _part(self, group: Ranks, device: str | None = None) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """This process's cells with their answers; ``device`` is where it computes, if not where the first one does."""
        cells = dealt(self.cells, group.count)[group.rank]
        apart = [cell for cell in cells if cell.device != "cpu"]
        spread = [cell for cell in cells if cell.device == "cpu"]
        # Batches of one keep slow fits from queueing behind each other and the bar moving. Processes begin here, and
        # what computes on a device does so beside them.
        jobs = max(1, min(own_cores() if self.n_jobs is None else self.n_jobs, len(spread)))
        beside = Parallel(n_jobs=jobs, batch_size=1, return_as="generator")(self._tasks(spread, "cpu"))
        answers = chain(Parallel(n_jobs=1, return_as="generator")(self._tasks(apart, device)), beside)
        return zip(apart + spread, answers, strict=True)

    def _tasks(self, cells: Sequence[Cell], device: str | None) -> Iterator[Any]:
        for cell in cells:
            attribute, fold_of = self.attributes[cell.attribute], self.fold_of[cell.attribute][cell.repeat]
            share = None if cell.ratio > (self.folds - 1) / self.folds - 1e-9 else cell.ratio
            placed = cell._replace(device=device or cell.device)
            yield delayed(_attack)(placed, self.points[cell.attribute], attribute, fold_of, share, self.seed)


def dealt(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """The cells of each of ``count`` processes, in their order. Each gets as many of every attack, within one."""
    turns = {cell: turn % count for turn, cell in enumerate(sorted(cells, key=lambda cell: cell.key))}
    return [[cell for cell in cells if turns[cell] == rank] for rank in range(count)]


def own_cores() -> int:
    """How many cores this process may use, >= 1: those of its machine, shared with other processes of the same run."""
    return max(1, int(cpu_count()) // place().here)


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


def all_cells(
    sizes: Sequence[int],
    ratios: Sequence[float],
    attackers: Sequence[type[Attacker]],
    repeats: int,
    folds: int,
    device: str = "cpu",
) -> list[Cell]:
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
        cells += [Cell(*column[:3], repeat, tuple(range(folds)), column[3]) for column in together[fold::folds]]
        cells += [Cell(*column[:3], repeat, (fold,), column[3]) for column in apart]
    return cells


def _attack(
    cell: Cell,
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
