"""Training of several perceptrons of one shape side by side, gradients written out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_aia.config.types import FloatArray, IntArray

_BATCH = 200  # users of a batch; scikit-learn's
_TOLERANCE, _PATIENCE = 1e-4, 10  # training stops when the loss has not fallen by 1e-4 for more than ten epochs
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's; scikit-learn's


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
        steps = -(-len(self.classes) // _BATCH)
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


@dataclass
class _State:
    """Parameters and Adam's moments of the networks that are still in training, a row for each network."""

    parameters: Tensor
    first_moment: Tensor
    second_moment: Tensor
    alpha: Tensor

    def only(self, rows: list[int]) -> _State:
        return _State(*(each[rows] for each in vars(self).values()))


class _Layers:
    """Views of ``[B, P]`` parameters (or gradients) as weights ``[B, in, out]`` and biases ``[B, 1, out]``."""

    def __init__(self, flat: Tensor, units: Sequence[int]) -> None:
        self.weights, self.biases, start = [], [], 0
        for inputs, outputs in itertools.pairwise(units):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            self.weights.append(flat[:, start:middle].unflatten(1, (inputs, outputs)))
            self.biases.append(flat[:, middle:end].unsqueeze(1))
            start = end


class _Users:
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
    units, users = first.units, _Users(jobs, device)
    with torch.inference_mode():
        flat = users.initial(units)
        alpha = torch.tensor([[job.alpha] for job in jobs], device=device)
        state = _State(flat, torch.zeros_like(flat), torch.zeros_like(flat), alpha)
        penalized = _penalized(units, device)
        active, steps = list(range(len(jobs))), 0
        progress = [_Progress() for _ in jobs]
        trained: dict[int, TrainedNetwork] = {}
        while active:
            losses = _epoch(state, users, active, penalized, first, steps)
            steps += -(-users.longest // _BATCH)
            more = [progress[n].goes_on(loss, first.max_epochs) for n, loss in zip(active, losses, strict=True)]
            for row, network in enumerate(active):
                if not more[row]:
                    layers = _Layers(state.parameters[row : row + 1].clone(), units)
                    weights, biases = [w[0] for w in layers.weights], [b[0, 0] for b in layers.biases]
                    trained[network] = TrainedNetwork(weights, biases, progress[network].losses)
            if not all(more):
                going = [row for row, goes_on in enumerate(more) if goes_on]
                state, active = state.only(going), [active[row] for row in going]
    return [trained[network] for network in range(len(jobs))]


def _penalized(units: Sequence[int], device: torch.device) -> Tensor:
    """1 for a weight and 0 for a bias, ``[P]``."""
    mask = torch.zeros(1, sum((i + 1) * o for i, o in itertools.pairwise(units)), device=device)
    for weights in _Layers(mask, units).weights:
        weights.fill_(1)
    return mask[0]


def _epoch(
    state: _State,
    users: _Users,
    active: Sequence[int],
    penalized: Tensor,
    kind: NetworkJob,
    steps: int,
) -> list[float]:
    """One pass over the users; returns the mean loss of each network. All are of one kind."""
    units, whole = kind.units, min(_BATCH, users.longest)
    positions, targets, weights = users.shuffled(active)
    layers, gradient = _Layers(state.parameters, units), torch.empty_like(state.parameters)
    gradients, batches = _Layers(gradient, units), range(0, users.longest, _BATCH)
    logits, penalties, totals = torch.empty_like(targets), [], []
    for start in batches:
        batch = slice(start, start + _BATCH)
        total = weights[:, batch].sum(1)
        inputs = users.embeddings[positions[:, batch]]
        logits[:, batch] = _backpropagate(layers, gradients, inputs, targets[:, batch], weights[:, batch])
        decayed = state.parameters * penalized
        alpha = state.alpha * total / whole if kind.even_penalty else state.alpha
        penalties.append(0.5 * alpha[:, 0] * (decayed * state.parameters).sum(1))
        totals.append(total[:, 0])
        gradient.addcmul_(decayed, alpha).div_(total)
        steps += 1
        _adam(state, gradient, kind.learning_rate, steps)
    return _mean_losses(logits, targets, weights, torch.stack(penalties, 1), torch.stack(totals, 1), users, active)


def _backpropagate(layers: _Layers, gradients: _Layers, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Writes the gradient of the loss summed over a batch; returns the logits ``[B, m, outputs]``."""
    values = [inputs]
    last = len(layers.weights) - 1
    for layer, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        out = torch.baddbmm(bias, values[-1], weight)
        values.append(out if layer == last else out.relu_())
    logits = values.pop()
    probabilities = torch.sigmoid(logits) if logits.shape[-1] == 1 else torch.softmax(logits, -1)
    delta = probabilities.sub_(targets).mul_(weights)
    for layer in range(last, -1, -1):
        gradients.weights[layer].copy_(torch.bmm(values[layer].transpose(1, 2), delta))
        gradients.biases[layer].copy_(delta.sum(1, keepdim=True))
        if layer:
            # The derivative of relu; a product with a comparison takes several times as long.
            back = torch.bmm(delta, layers.weights[layer].transpose(1, 2))
            delta = torch.ops.aten.threshold_backward(back, values[layer], 0)
    return logits


def _adam(state: _State, gradient: Tensor, rate: float, steps: int) -> None:
    state.first_moment.lerp_(gradient, 1 - _BETA1)
    state.second_moment.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
    corrected = rate * (1 - _BETA2**steps) ** 0.5 / (1 - _BETA1**steps)
    state.parameters.addcdiv_(state.first_moment, state.second_moment.sqrt().add_(_EPSILON), value=-corrected)


def _mean_losses(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    penalties: Tensor,
    totals: Tensor,
    users: _Users,
    active: Sequence[int],
) -> list[float]:
    """Mean over users of the loss of their batch, penalty included, as scikit-learn reports it."""
    if logits.shape[-1] == 1:
        losses = F.softplus(logits) - targets * logits
    else:
        losses = torch.logsumexp(logits, -1, keepdim=True) - (targets * logits).sum(-1, keepdim=True)
    spare = -users.longest % _BATCH
    sums = F.pad((losses * weights)[..., 0], (0, spare)).unflatten(1, (-1, _BATCH)).sum(2)
    means = ((sums + penalties) / totals).double().cpu().numpy()
    counts = np.array([users.counts[network] for network in active])
    sizes = np.full(means.shape, float(_BATCH))
    sizes[:, -1] = counts - _BATCH * (means.shape[1] - 1)
    mean: list[float] = ((means * sizes).sum(axis=1) / counts).tolist()
    return mean
