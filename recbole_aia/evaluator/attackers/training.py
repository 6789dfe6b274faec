"""Training of several perceptrons of one shape side by side, gradients written out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.epochs import BATCH, Epoch, Layers, State

_TOLERANCE, _PATIENCE = 1e-4, 10  # training stops when the loss has not fallen by 1e-4 for more than ten epochs


@dataclass(frozen=True, eq=False)
class NetworkJob:
    """A network to be trained.

    Attributes:
        embeddings: what it learns from, ``[n, d]``, float32. Networks that share the array share its memory.
        classes: in ``0..K-1``, ``[n]``.
        weights: of the users, ``[n]``; ``None`` for equal ones.
        units: of each layer, from ``d`` to the outputs: K, or one where K is 2.
        alpha: L2 penalty, >= 0.
        even_penalty: whether a smaller last batch is penalised no more than a whole one.
        learning_rate: Adam's step, > 0.
        max_epochs: epochs at most, >= 1.
        seed: of the initial weights and the order of the users.
        device: where torch computes.
    """

    embeddings: FloatArray
    classes: IntArray
    weights: FloatArray | None
    units: tuple[int, ...]
    alpha: float
    even_penalty: bool
    learning_rate: float
    max_epochs: int
    seed: int
    device: str

    @property
    def kind(self) -> tuple[Any, ...]:
        """What networks must have in common to be trained side by side."""
        steps = -(-len(self.classes) // BATCH)
        return self.units, steps, self.learning_rate, self.max_epochs, self.device, self.even_penalty


class TrainedNetwork(NamedTuple):
    """A network after its training.

    Attributes:
        weights: of each layer, ``[in, out]``.
        biases: of each layer, ``[out]``.
        losses: mean loss of the users in each epoch, penalty included.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    losses: list[float]


@dataclass
class _Progress:
    """The losses of a network so far, and for how many epochs in a row they have not fallen."""

    losses: list[float] = field(default_factory=list)
    best: float = np.inf
    stalled: int = 0

    def goes_on(self, loss: float, max_epochs: int) -> bool:
        """Notes the loss of an epoch; whether another epoch follows."""
        self.losses.append(loss)
        self.stalled = self.stalled + 1 if loss > self.best - _TOLERANCE else 0
        self.best = min(self.best, loss)
        return self.stalled <= _PATIENCE and len(self.losses) < max_epochs


class Users:
    """The users of B networks in one tensor.

    Networks may share users. Their numbers of users may differ within the last batch: the places that a network does
    not fill hold its first user with weight 0.
    """

    def __init__(self, jobs: Sequence[NetworkJob], device: torch.device) -> None:
        distinct = {id(job.embeddings): job.embeddings for job in jobs}
        starts = dict(zip(distinct, np.cumsum([0, *map(len, distinct.values())]).tolist(), strict=False))
        self.counts = [len(job.classes) for job in jobs]
        self.longest = max(self.counts)
        self.embeddings = torch.as_tensor(np.concatenate(list(distinct.values())), device=device)
        self._starts = [starts[id(job.embeddings)] for job in jobs]
        self._targets = [_indicators(job.classes, job.units[-1]) for job in jobs]
        self._weights = [_single_weights(job) for job in jobs]
        self._order = [np.arange(count) for count in self.counts]
        self._random = [np.random.RandomState(job.seed) for job in jobs]
        self.device = device

    def initial(self, units: Sequence[int]) -> Tensor:
        """Glorot's uniform weights and biases, ``[B, P]``, drawn as scikit-learn draws them."""
        rows = []
        for random in self._random:
            row = []
            for inputs, outputs in itertools.pairwise(units):
                bound = np.sqrt(6.0 / (inputs + outputs))
                row += [random.uniform(-bound, bound, inputs * outputs), random.uniform(-bound, bound, outputs)]
            rows.append(np.concatenate(row))
        return torch.as_tensor(np.stack(rows).astype(np.float32), device=self.device)

    def shuffled(self, active: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Positions ``[B', n]``, targets ``[B', n, outputs]`` and weights ``[B', n, 1]`` of an epoch."""
        shape = len(active), self.longest
        positions, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        targets = np.zeros((*shape, self._targets[0].shape[1]), np.float32)
        for row, network in enumerate(active):
            count, moves = self.counts[network], np.arange(self.counts[network])
            self._random[network].shuffle(moves)
            order = self._order[network] = self._order[network][moves]
            positions[row] = self._starts[network]
            positions[row, :count] += order
            targets[row, :count], weights[row, :count] = self._targets[network][order], self._weights[network][order]
        return (
            torch.as_tensor(positions, device=self.device),
            torch.as_tensor(targets, device=self.device),
            torch.as_tensor(weights, device=self.device).unsqueeze(-1),
        )


def _indicators(classes: IntArray, outputs: int) -> FloatArray:
    if outputs == 1:
        return classes[:, None].astype(np.float32)
    return np.eye(outputs, dtype=np.float32)[classes]


def _single_weights(job: NetworkJob) -> FloatArray:
    return np.ones(len(job.classes), np.float32) if job.weights is None else job.weights.astype(np.float32)


def train(jobs: Sequence[NetworkJob]) -> list[TrainedNetwork]:
    """Trains networks of one :attr:`NetworkJob.kind`; those that have converged leave the batch.

    Args:
        jobs: at least one.

    Returns:
        One network for each job, in the same order.
    """
    first, device = jobs[0], torch.device(jobs[0].device)
    units, users = first.units, Users(jobs, device)
    with torch.inference_mode():
        flat = users.initial(units)
        alpha = torch.tensor([[job.alpha] for job in jobs], device=device)
        state = State(flat, torch.zeros_like(flat), torch.zeros_like(flat), alpha)
        # A recorded epoch is of all networks to the end; what those do that have converged is not looked at.
        records = device.type == "cuda"
        rows, epoch, steps = list(range(len(jobs))), Epoch(state, users, range(len(jobs)), first), 0
        active, progress = list(range(len(jobs))), [_Progress() for _ in jobs]
        trained: dict[int, TrainedNetwork] = {}
        while active:
            losses = epoch(steps)
            steps += -(-users.longest // BATCH)
            more = [progress[n].goes_on(losses[row], first.max_epochs) for n, row in zip(active, rows, strict=True)]
            for network, row, goes_on in zip(active, rows, more, strict=True):
                if not goes_on:
                    layers = Layers(state.parameters[row : row + 1].clone(), units)
                    weights, biases = [w[0] for w in layers.weights], [b[0, 0] for b in layers.biases]
                    trained[network] = TrainedNetwork(weights, biases, progress[network].losses)
            if not all(more):
                active, rows = list(compress(active, more)), list(compress(rows, more))
                if active and not records:
                    state, rows = state.only(rows), list(range(len(active)))
                    epoch = Epoch(state, users, active, first)
    return [trained[network] for network in range(len(jobs))]
