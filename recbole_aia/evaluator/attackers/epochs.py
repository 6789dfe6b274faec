"""Epochs of several perceptrons of one shape side by side, gradients written out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_aia.evaluator.attackers.network_users import BATCH, NetworkJob, Users
from recbole_aia.replay import Replayed

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's; scikit-learn's


@dataclass
class State:
    """Parameters and Adam's moments of the networks that are still in training, a row for each network."""

    parameters: Tensor
    first_moment: Tensor
    second_moment: Tensor
    alpha: Tensor

    def only(self, rows: list[int]) -> State:
        """The state of some of the networks."""
        return State(*(each[rows] for each in vars(self).values()))


class Layers:
    """Views of ``[B, P]`` parameters (or gradients) as weights ``[B, in, out]`` and biases ``[B, 1, out]``."""

    def __init__(self, flat: Tensor, units: Sequence[int]) -> None:
        self.weights, self.biases, start = [], [], 0
        for inputs, outputs in itertools.pairwise(units):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            self.weights.append(flat[:, start:middle].unflatten(1, (inputs, outputs)))
            self.biases.append(flat[:, middle:end].unsqueeze(1))
            start = end


class Epoch:
    """Passes over the users of B networks of one kind, in memory that stays in place: CUDA replays what they do.

    Args:
        state: of the networks.
        users: of all networks.
        active: the networks' numbers.
        kind: one of the jobs.
    """

    def __init__(self, state: State, users: Users, active: Sequence[int], kind: NetworkJob) -> None:
        self._state, self._users, self._active, self._kind = state, users, active, kind
        device, shape = users.device, (len(active), users.longest)
        self._batches = [slice(start, start + BATCH) for start in range(0, users.longest, BATCH)]
        self._positions = torch.zeros(shape, dtype=torch.long, device=device)
        self._targets = torch.zeros(*shape, kind.units[-1], device=device)
        self._weights, self._logits = torch.zeros(*shape, 1, device=device), torch.empty_like(self._targets)
        self._penalties, self._totals = torch.zeros(2, len(active), len(self._batches), device=device)
        self._rates: Sequence[float] | Tensor = torch.zeros(len(self._batches), device=device)
        self._penalized = _penalized(kind.units, device)
        self._layers, self._gradient = Layers(state.parameters, kind.units), torch.empty_like(state.parameters)
        self._run = Replayed(self._steps, state.parameters, kind.max_epochs)

    def __call__(self, taken: int) -> list[float]:
        """One pass, after ``taken`` steps; returns the mean loss of each network."""
        held = self._positions, self._targets, self._weights
        for place, drawn in zip(held, self._users.shuffled(self._active), strict=True):
            place.copy_(drawn)
        rates = [_rate(self._kind.learning_rate, taken + 1 + batch) for batch in range(len(self._batches))]
        if isinstance(self._rates, Tensor) and self._rates.is_cuda:
            self._rates.copy_(torch.tensor(rates))
        else:
            self._rates = rates
        self._run()
        return _mean_losses(
            self._logits, self._targets, self._weights, self._penalties, self._totals, self._users, self._active
        )

    def _steps(self) -> None:
        state, kind, gradient = self._state, self._kind, self._gradient
        gradients, whole = Layers(gradient, kind.units), min(BATCH, self._users.longest)
        for number, batch in enumerate(self._batches):
            targets, weights = self._targets[:, batch], self._weights[:, batch]
            total = weights.sum(1)
            inputs = self._users.embeddings[self._positions[:, batch]]
            self._logits[:, batch] = _backpropagate(self._layers, gradients, inputs, targets, weights)
            decayed = state.parameters * self._penalized
            alpha = state.alpha * total / whole if kind.even_penalty else state.alpha
            self._penalties[:, number] = 0.5 * alpha[:, 0] * (decayed * state.parameters).sum(1)
            self._totals[:, number] = total[:, 0]
            gradient.addcmul_(decayed, alpha).div_(total)
            _adam(state, gradient, self._rates[number])


def _backpropagate(layers: Layers, gradients: Layers, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
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


def _rate(rate: float, step: int) -> float:
    """Adam's step in its n-th step, from 1 on."""
    return float(rate * (1 - _BETA2**step) ** 0.5 / (1 - _BETA1**step))


def _adam(state: State, gradient: Tensor, rate: float | Tensor) -> None:
    state.first_moment.lerp_(gradient, 1 - _BETA1)
    state.second_moment.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
    unit = state.second_moment.sqrt().add_(_EPSILON)
    if isinstance(rate, Tensor):
        state.parameters.addcdiv_(state.first_moment * -rate, unit)
    else:
        state.parameters.addcdiv_(state.first_moment, unit, value=-rate)


def _mean_losses(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    penalties: Tensor,
    totals: Tensor,
    users: Users,
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


def _penalized(units: Sequence[int], device: torch.device) -> Tensor:
    """1 for a weight and 0 for a bias, ``[P]``."""
    mask = torch.zeros(1, sum((i + 1) * o for i, o in itertools.pairwise(units)), device=device)
    for weights in Layers(mask, units).weights:
        weights.fill_(1)
    return mask[0]
