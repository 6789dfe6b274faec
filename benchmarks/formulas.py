"""What a training in several processes takes at any size: the formulas and the tables of docs/scale.md.

    python -m benchmarks.formulas

prints the tables. ``python -m benchmarks.several_processes`` measures what :class:`Job` says, and fits :data:`SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.optimize import nnls

#: Processor seconds of a thread for each unit of :meth:`Job.work`, fitted by several_processes to 130,000 to 180,000
#: users in one, two and four processes; of these 16 % off at most. Smaller tables fit in caches and take half.
SECONDS: Mapping[str, float] = {"products": 1.8e-10, "rows": 1.8e-8, "tables": 3.2e-8}
DATA = 370  # bytes of RecBole's tables and sets for an interaction at most, while a data set is loaded
PROCESS = 130 * 2**20  # bytes of a process before it trains
#: Tables ``[users, d]`` that a defense adds, with two attributes: RAID's targets of each and two copies in a refresh;
#: the vectors of AttrCloak with their gradients and moments (2.8 GiB for a million users, docs/performance.md); the
#: vectors before and after calibrated's map.
TABLES = {"raid": 4, "attrcloak": 11, "calibrated": 3}
#: Processor seconds of a thread for a user of 64 dimensions: a step of AttrCloak (docs/performance.md), calibrated's
#: map, which is applied once (two attributes, timed by hand).
USER = {"attrcloak": 4.9e-6, "calibrated": 3.2e-6}
#: Of two attributes of two and three classes; of calibrated's kernels of 64 dimensions; users that it learns from.
CELLS, FEATURES, LEARNED = 6, 1629, 20_000

#: What the tables assume.
PROCESSES, THREADS, NETWORK, MEMORY, PATIENCE = 8, 16, 1.25e9, 1e12, 60.0
SIZES = (10**7, 10**8, 10**9)


@dataclass(frozen=True)
class Job:
    """A training of LightGCN: its data, its batch, and the number of processes."""

    users: int
    items: int
    interactions: int
    dimensions: int
    layers: int
    batch: int
    processes: int

    @classmethod
    def of(cls, users: int) -> Job:
        """The tables' jobs: ten users an item, 50 interactions a user, 100 steps an epoch, d = 64, two layers."""
        return cls(users, users // 10, 50 * users, 64, 2, users // 2, PROCESSES)

    @property
    def numbers(self) -> int:
        """Parameters P: of the tables of users and items."""
        return (self.users + self.items) * self.dimensions

    @property
    def own(self) -> int:
        """Numbers of the columns that a process propagates; P / R where R divides d."""
        return (self.users + self.items) * -(-self.dimensions // self.processes)

    def sent(self) -> float:
        """Numbers that a process sends in a step: columns to all others, their gradients back, gradients of tables."""
        return 2 * (self.processes - 1) * self.own + self.added_up(self.numbers)

    def added_up(self, numbers: float) -> float:
        """Numbers that a process sends where ``numbers`` are added up over all, by a ring."""
        return 2 * (self.processes - 1) / self.processes * numbers

    def memory(self) -> float:
        """Bytes of a process in a step: tables, graph, batch; without RecBole's data (:meth:`data`)."""
        tables = 6 * self.numbers + (self.layers + 3) * self.own
        rows = 12 * self.batch * self.dimensions / self.processes
        return PROCESS + 4 * (tables + rows) + 28 * self.interactions

    def data(self) -> float:
        """Bytes of RecBole's data in each process."""
        return DATA * self.interactions

    def work(self) -> dict[str, float]:
        """What a process computes in a step, in units of :data:`SECONDS`; that of tables is done by all alike."""
        columns = self.own / (self.users + self.items)
        return {
            "products": 2 * self.layers * 2 * self.interactions * columns,
            "rows": self.batch * self.dimensions / self.processes,
            "tables": self.numbers,
        }

    def seconds(self, of: Mapping[str, float] = SECONDS) -> float:
        """Processor seconds of a step, of one thread."""
        return sum(of[name] * amount for name, amount in self.work().items())

    def of_defense(self) -> dict[str, tuple[float, float, float]]:
        """By defense: bytes of a process, numbers sent in a step of the defense, and its processor seconds.

        RAID's step is the training's. AttrCloak's moves the vectors of all users, split over processes. Calibrated's is
        an alignment's, of the users that it learns from, and its seconds are those of its map of all users.
        """
        table, squares = self.users * self.dimensions, CELLS * (self.dimensions + 1) ** 2
        memory = {name: self.memory() + 4 * count * table for name, count in TABLES.items()}
        memory["attrcloak"] = PROCESS + 4 * (self.numbers + TABLES["attrcloak"] * table) + 28 * self.interactions
        few = min(self.users, LEARNED) * self.dimensions
        vectors = self.users * (self.dimensions / 64) ** 2
        return {
            "raid": (memory["raid"], self.sent(), self.seconds()),
            "attrcloak": (
                memory["attrcloak"],
                self.added_up(squares + 2 * table),
                USER["attrcloak"] * vectors / self.processes,
            ),
            "calibrated": (
                memory["calibrated"],
                self.added_up(squares + CELLS * FEATURES + 2 * few),
                USER["calibrated"] * vectors,
            ),
        }


def fitted(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The constants of the time that fit measured lines best, none negative; and the largest relative error."""
    jobs = [Job(**{field.name: line[field.name] for field in fields(Job)}) for line in lines]
    measured = np.array([line["processor_s"] for line in lines])
    work = np.array([list(job.work().values()) for job in jobs])
    found, _ = nnls(work / measured[:, None], np.ones(len(lines)))
    errors = np.abs(work @ found / measured - 1)
    return {"seconds": dict(zip(jobs[0].work(), found.tolist(), strict=True)), "largest_error": float(errors.max())}


def needs() -> str:
    """The table of what each size takes."""
    rows = []
    for job in map(Job.of, SIZES):
        first = _short(job.users)
        for name, (memory, sent, seconds) in job.of_defense().items():
            wire, processor = 4 * sent / NETWORK, seconds / THREADS
            cells = (first, name, job.data() / 1e9, memory / 1e9, 4 * sent / 1e9, wire, processor)
            rows.append([each if isinstance(each, str) else _short(each) for each in cells])
            first = ""
    heads = ("users", "defense", "data, GB", "memory, GB", "sent, GB a step", "network, s", "processor, s")
    return _table(heads, rows)


def limits() -> str:
    """The table of the number of users at which each resource ends, the first one first."""
    resources: dict[str, Callable[[Job], float]] = {
        "memory of RecBole's data and RAID's training": lambda job: (job.data() + job.of_defense()["raid"][0]) / MEMORY,
        "memory of RecBole's data alone": lambda job: job.data() / MEMORY,
        "the network, a step of LightGCN or RAID": lambda job: 4 * job.sent() / NETWORK / PATIENCE,
        "the processor, a step of LightGCN or RAID": lambda job: job.seconds() / THREADS / PATIENCE,
        "memory of RAID's training alone": lambda job: job.of_defense()["raid"][0] / MEMORY,
        "memory of calibrated's training alone": lambda job: job.of_defense()["calibrated"][0] / MEMORY,
        "memory of AttrCloak alone": lambda job: job.of_defense()["attrcloak"][0] / MEMORY,
        "the network, a step of AttrCloak": lambda job: 4 * job.of_defense()["attrcloak"][1] / NETWORK / PATIENCE,
    }
    # All grow in proportion to the users, so one size tells the rest.
    at = {name: SIZES[-1] / share(Job.of(SIZES[-1])) for name, share in resources.items()}
    return _table(("what ends", "at users"), [[name, _short(at[name])] for name in sorted(at, key=lambda n: at[n])])


def _short(number: float) -> str:
    """Two significant digits, or whole numbers."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Prints the tables."""
    print(f"{needs()}\n\n{limits()}")


if __name__ == "__main__":
    main()
