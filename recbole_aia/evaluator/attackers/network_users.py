"""What networks that are trained side by side learn from, in one tensor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.types import FloatArray, IntArray

BATCH = 200  # users of a batch; scikit-learn's


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
