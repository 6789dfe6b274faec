"""Training of several perceptrons of one shape side by side, gradients written out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_aia._typing import FloatArray, IntArray

if TYPE_CHECKING:
    from recbole_aia.evaluator.attackers.perceptron import Perceptron


#: Users of a batch; scikit-learn's.
BATCH = 200
_TOLERANCE, _PATIENCE = 1e-4, 10
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass
class _State:
    """What is kept of the networks still in training, one row each."""

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
    """The users of B networks, end to end; networks may share them, and numbers of users may differ in the last batch.

    Places that a network has no user for hold its first one with weight 0.
    """

    def __init__(self, networks: Sequence[Perceptron], device: torch.device) -> None:
        distinct = {id(network._users[0]): network._users[0] for network in networks}
        starts = dict(zip(distinct, np.cumsum([0, *map(len, distinct.values())]).tolist(), strict=False))
        self.counts = [len(network._users[1]) for network in networks]
        self.longest = max(self.counts)
        outputs, every = networks[0]._units[-1], [network._users for network in networks]
        self.embeddings = torch.as_tensor(np.concatenate(list(distinct.values())), device=device)
        self._starts = [starts[id(network._users[0])] for network in networks]
        self._targets = [_indicators(classes, outputs) for _, classes, _ in every]
        self._weights = [np.ones(len(c), np.float32) if w is None else w.astype(np.float32) for _, c, w in every]
        self._order = [np.arange(count) for count in self.counts]
        self._random = [np.random.RandomState(network.random_state) for network in networks]
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


def train(networks: Sequence[Perceptron]) -> None:
    """Trains networks of one kind; those that have converged leave the batch."""
    first, device = networks[0], torch.device(networks[0].device)
    units, users = first._units, _Users(networks, device)
    with torch.inference_mode():
        flat = users.initial(units)
        alpha = torch.tensor([[network.alpha] for network in networks], device=device)
        state = _State(flat, torch.zeros_like(flat), torch.zeros_like(flat), alpha)
        penalized = _penalized(units, device)
        active, steps = list(range(len(networks))), 0
        for network in networks:
            network.loss_curve_, network._best, network._stalled = [], np.inf, 0
        while active:
            losses = _epoch(state, users, active, penalized, units, first, steps)
            steps += -(-users.longest // BATCH)
            going = [row for row, loss in enumerate(losses) if _goes_on(networks[active[row]], loss)]
            if len(going) < len(active):
                for row in set(range(len(active))) - set(going):
                    _finish(networks[active[row]], state.parameters[row : row + 1].clone(), units)
                state, active = state.only(going), [active[row] for row in going]


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
    units: Sequence[int],
    kind: Perceptron,
    steps: int,
) -> list[float]:
    """One pass over the users; returns the mean loss of each network. All are of one kind."""
    whole = min(BATCH, users.longest)
    positions, targets, weights = users.shuffled(active)
    layers, gradient = _Layers(state.parameters, units), torch.empty_like(state.parameters)
    gradients, batches = _Layers(gradient, units), range(0, users.longest, BATCH)
    logits, penalties, totals = torch.empty_like(targets), [], []
    for start in batches:
        batch = slice(start, start + BATCH)
        total = weights[:, batch].sum(1)
        inputs = users.embeddings[positions[:, batch]]
        logits[:, batch] = _backpropagate(layers, gradients, inputs, targets[:, batch], weights[:, batch])
        decayed = state.parameters * penalized
        alpha = state.alpha * total / whole if kind.even_penalty else state.alpha
        penalties.append(0.5 * alpha[:, 0] * (decayed * state.parameters).sum(1))
        totals.append(total[:, 0])
        gradient.addcmul_(decayed, alpha).div_(total)
        steps += 1
        _adam(state, gradient, kind.learning_rate_init, steps)
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
    spare = -users.longest % BATCH
    sums = F.pad((losses * weights)[..., 0], (0, spare)).unflatten(1, (-1, BATCH)).sum(2)
    means = ((sums + penalties) / totals).double().cpu().numpy()
    counts = np.array([users.counts[network] for network in active])
    sizes = np.full(means.shape, float(BATCH))
    sizes[:, -1] = counts - BATCH * (means.shape[1] - 1)
    mean: list[float] = ((means * sizes).sum(axis=1) / counts).tolist()
    return mean


def _goes_on(network: Perceptron, loss: float) -> bool:
    network.loss_curve_.append(loss)
    network._stalled = network._stalled + 1 if loss > network._best - _TOLERANCE else 0
    network._best = min(network._best, loss)
    return network._stalled <= _PATIENCE and len(network.loss_curve_) < network.max_iter


def _finish(network: Perceptron, parameters: Tensor, units: Sequence[int]) -> None:
    layers = _Layers(parameters, units)
    network.coefs_, network.intercepts_ = [w[0] for w in layers.weights], [b[0, 0] for b in layers.biases]
    network.n_iter_ = len(network.loss_curve_)
    del network._users
