"""LightGCN in several processes on one machine, one thread each: seconds a step, and what communication takes of it.

    python -m benchmarks.several_processes --processes 1 2 --like lastfm-360k
    python -m benchmarks.several_processes --processes 1 2 4 --users 60000 90000 130000 180000 \\
        --items 6000 9000 13000 18000 --interactions 3000000 4500000 6500000 9000000

Trains ``--steps`` steps on the twin of a published dataset, or on generated data of each size, and prints a JSON line
for each size and number of processes. Numbers of processes take turns for ``--rounds`` rounds, each in new processes;
times are medians over all steps but the first, loading included. Communication is the time inside torch's collectives,
by a wrapper around them: first the time in which the process waits for the others (a barrier), then the rest. Bytes are
those of the tensors that the collectives get, times what a ring sends of them. They stand beside what
``benchmarks.formulas`` says. With several sizes the last line is a fit of the time's formula to all lines.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from recbole.utils import init_seed

from benchmarks.formulas import Job, fitted
from benchmarks.setting import VALUES, apart
from recbole_aia import AIAConfig
from recbole_aia.data import create_dataset, prepare_loaders
from recbole_aia.data.synthetic import SyntheticData, generate, write
from recbole_aia.data.twins import SHAPES, twin
from recbole_aia.launch import free_port
from recbole_aia.model import build_model, scores_users
from recbole_aia.ranks import at_work, joined
from recbole_aia.trainer import trainer_class

BATCH, STEPS, ROUNDS = 65_536, 6, 3


def compared(
    data: SyntheticData, counts: Sequence[int], steps: int = STEPS, rounds: int = ROUNDS, **values: Any
) -> list[dict[str, Any]]:
    """A line for each number of processes, in turns; ``values`` are keys over :data:`~benchmarks.setting.VALUES`."""
    with tempfile.TemporaryDirectory(prefix="recbole-aia-") as folder:
        write(data, Path(folder))
        places = {"data_path": folder, "checkpoint_dir": folder, "device": "cpu"}
        config = AIAConfig("LightGCN", "synthetic", config_dict={**VALUES, **places, **values}, argv=[])
        init_seed(config["seed"], True)
        loaders = prepare_loaders(config, create_dataset(config), scores_users=scores_users(config))
        found = [
            [together(count, lambda: few_steps(config, loaders, steps)) for count in counts] for _ in range(rounds)
        ]
    train = loaders[0].dataset
    sizes = (train.user_num, train.item_num, len(train.inter_feat), config["embedding_size"], config["n_layers"])
    lines = [
        _line(Job(*sizes, min(config["train_batch_size"], len(train.inter_feat)), count), column)
        for count, column in zip(counts, zip(*found, strict=True), strict=True)
    ]
    for line in lines:
        line["ratio_to_first"] = round(line["step_s"] / lines[0]["step_s"], 3)
    return lines


def _line(job: Job, rounds: Sequence[Sequence[Measured]]) -> dict[str, Any]:
    """What one number of processes takes; all processes wait for each other, so the first one's times are all's."""
    firsts = [processes[0] for processes in rounds]
    step = median(seconds for each in firsts for seconds in each.steps)
    inside = median(each.waiting + each.sending for each in firsts)
    return {
        "name": "several processes",
        **asdict(job),
        "step_s": round(step, 4),
        "processor_s": round(median(each.processor for each in firsts), 4),
        "communication": round(inside / step, 3),
        "of_it_waiting": round(median(each.waiting for each in firsts) / max(inside, 1e-9), 3),
        "sent_bytes": round(firsts[0].sent),
        "sent_bytes_formula": round(4 * job.sent()),
        "memory_mib": round(max(each.memory_mib for processes in rounds for each in processes)),
        "memory_mib_formula": round(job.memory() / 2**20),
    }


@dataclass
class Measured:
    """What a process has measured: seconds of each step, and on average over steps the processor's and collectives'."""

    steps: list[float]
    processor: float
    waiting: float
    sending: float
    sent: float
    memory_mib: float


def few_steps(config: Any, loaders: Sequence[Any], steps: int) -> Measured:
    """Trains a new model for one step, and then for ``steps``, which are measured."""
    # Several processes train without torch's anomaly detection, which RecBole switches on. One process gets the same.
    torch.autograd.set_detect_anomaly(False)
    before = _peak_mib()
    init_seed(config["seed"], True)
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    with collectives() as traffic:
        batches = _Few(loaders[0], steps, traffic)
        trainer._train_epoch(batches, 0)
    times = [after - start for start, after in zip(batches.ends, batches.ends[1:], strict=False)]
    processor = (batches.processor[-1] - batches.processor[0]) / steps
    means = {name: total / steps for name, total in asdict(traffic).items()}
    return Measured(times, processor, memory_mib=_peak_mib() - before, **means)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Few:
    """The first batches of a loader's epoch; notes when each step ends, and begins to count after the first."""

    def __init__(self, loader: Any, steps: int, traffic: Traffic) -> None:
        self.loader, self.steps, self.traffic = loader, steps, traffic
        self.ends: list[float] = []
        self.processor: list[float] = []

    def __len__(self) -> int:
        return self.steps + 1

    def __iter__(self) -> Iterator[Any]:
        for _, batch in zip(range(len(self)), self.loader, strict=False):
            yield batch
            self.ends.append(time.perf_counter())
            self.processor.append(time.process_time())
            if len(self.ends) == 1:
                self.traffic.waiting = self.traffic.sending = self.traffic.sent = 0.0
        if len(self.ends) < len(self):
            raise SystemExit(f"an epoch has {len(self.ends)} batches. Lower --batch or --steps.")


@dataclass
class Traffic:
    """Seconds in which a process waits for others, seconds in which it sends and receives, and the bytes it sends."""

    waiting: float = 0.0
    sending: float = 0.0
    sent: float = 0.0


@contextmanager
def collectives() -> Iterator[Traffic]:
    """Inside, torch's collectives are timed, and what they send is counted."""
    traffic = Traffic()
    # What a ring sends of a tensor, of r processes: all_reduce each number twice but for the own part.
    kinds: dict[str, Callable[[float], float]] = {
        "all_reduce": lambda r: 2 * (r - 1) / r,
        "all_to_all_single": lambda r: (r - 1) / r,
    }
    originals = {name: getattr(dist, name) for name in kinds}

    def timed(name: str) -> Callable[..., Any]:
        def collective(*tensors: torch.Tensor, **options: Any) -> Any:
            start = time.perf_counter()
            dist.barrier()
            ready = time.perf_counter()
            done = originals[name](*tensors, **options)
            traffic.waiting += ready - start
            traffic.sending += time.perf_counter() - ready
            traffic.sent += kinds[name](dist.get_world_size()) * tensors[-1].nbytes
            return done

        return collective

    for name in kinds:
        setattr(dist, name, timed(name))
    try:
        yield traffic
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)


def together(count: int, task: Callable[[], Any]) -> list[Any]:
    """What a task returns in each of ``count`` processes that share the work, forked from this one; in order."""
    context, port = multiprocessing.get_context("fork"), free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_child, args=(rank, count, port, pipe[1], task)) for rank, pipe in enumerate(pipes)
    ]
    for child in children:
        child.start()
        # A process that has died is then the end of its pipe, and no endless wait.
        pipes[children.index(child)][1].close()
    try:
        found = [receiver.recv() for receiver, _ in pipes]
    finally:
        for child in children:
            child.kill()
            child.join()
    if failed := [each for each in found if isinstance(each, str)]:
        raise SystemExit(failed[0])
    return found


def _child(rank: int, count: int, port: int, pipe: Any, task: Callable[[], Any]) -> None:
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in own.items()})
    torch.set_num_threads(1)
    try:
        with joined(torch.device("cpu")), at_work():
            found = task()
    except BaseException:
        found = traceback.format_exc()
    pipe.send(found)


def main() -> None:
    """Prints the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--like", choices=SHAPES, help="the twin of a published dataset, as of prepare synthetic")
    for name in ("users", "items", "interactions"):
        parser.add_argument(f"--{name}", nargs="+", type=int, default=[], help="a number for each size")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2, help="RecBole's number by default")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if not asked.like and not asked.users:
        parser.error("give --like, or --users, --items and --interactions")
    values = {"train_batch_size": asked.batch, "embedding_size": asked.dimensions, "n_layers": asked.layers}
    sizes = list(zip(asked.users, asked.items, asked.interactions, strict=True))
    makers: list[Callable[[], SyntheticData]] = [lambda: twin(asked.like)] if asked.like else []
    makers += [lambda size=size: generate(*size) for size in sizes]  # type: ignore[misc]
    lines = []
    with apart():
        for make in makers:
            for line in compared(make(), asked.processes, asked.steps, asked.rounds, **values):
                print(json.dumps(line), flush=True)
                lines.append(line)
    if len(makers) > 1:
        print(json.dumps({"name": "fit", **fitted(lines)}))


if __name__ == "__main__":
    main()
