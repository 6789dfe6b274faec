"""Training of several perceptrons of one shape side by side, gradients written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_aia.evaluator.attackers.epochs import Epoch, Layers, State
from recbole_aia.evaluator.attackers.network_users import BATCH, NetworkJob, Users

_TOLERANCE, _PATIENCE = 1e-4, 10  # training stops when the loss has not fallen by 1e-4 for more than ten epochs


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
