r"""Super-gradient ascent on the dual of the penalized barycenter, in units of the data's cost.

The state is :math:`(g, \log\alpha)` and always satisfies eq. 21,
:math:`\sum_k \lambda_k g_k = -\tau\log\alpha + \text{const}`. Carrying :math:`\alpha` beside
:math:`g` costs Q numbers and keeps it accurate where eq. 21 is ill-conditioned, at a small
:math:`\tau`, and defined where eq. 21 is not, at :math:`\tau = 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_aia.losses.raid.costs import ClassCosts, soft_minimum

# Temperatures of the smoothed minimum, relative to the cost scale. A support that is going to move needs only the first
# two. In high dimension it even ends in a better place without the others.
COARSE_STAGES = (0.03, 0.01)
FINE_STAGES = (0.03, 0.01, 0.003, 0.001)
# L1 marginal errors at which a stage ends: the last stage, and the stages before it.
FINE_TOLERANCE, COARSE_TOLERANCE = 2e-3, 5e-3
# Ascent on the dual itself, once the smoothed ascent has come close: the first step, in cost scales, and how many.
POLISH_STEP = 1e-3
POLISH_STEPS = 10
# Least damping of the direction that all classes share, where masses come from a mini-batch and are noisy.
BATCH_DAMPING = 0.1


class State(NamedTuple):
    """Potentials ``[K, Q]`` and log weights ``[Q]``."""

    potentials: Tensor
    log_weights: Tensor

    def towards(self, other: State, amount: Tensor) -> State:
        """The state beyond ``self``, away from ``other``, by ``amount`` of their difference; eq. 21 holds there."""
        return State(
            self.potentials + amount * (self.potentials - other.potentials),
            torch.log_softmax(self.log_weights + amount * (self.log_weights - other.log_weights), 0),
        )

    def consistent(self, class_weights: Tensor, tau: float) -> State:
        """A nearby state for which eq. 21 holds up to rounding.

        At a large tau the weights are computed from the potentials. At a small tau the potentials of all classes are
        shifted alike, to fit the weights. Each way is stable where it is used.
        """
        level = class_weights @ self.potentials
        if tau >= 1:
            return self._replace(log_weights=torch.log_softmax((level.min() - level) / tau, 0))
        shift = -tau * self.log_weights - level
        return self._replace(potentials=self.potentials + (shift - shift.mean()))


class Average:
    """Running mean of states. Eq. 21 is linear, so the mean satisfies it too."""

    def __init__(self) -> None:
        self._sum: State | None = None
        self._count = 0

    def add(self, state: State) -> None:
        """Counts one more state."""
        if self._sum is not None:
            state = State(*(total + new for total, new in zip(self._sum, state, strict=True)))
        self._sum, self._count = state, self._count + 1

    def state(self) -> State:
        """The mean of all states so far, of which there must be one."""
        assert self._sum is not None
        potentials, log_weights = (total / self._count for total in self._sum)
        return State(potentials, torch.log_softmax(log_weights, 0))


class Dual(NamedTuple):
    """Eq. 13 for one position of the support."""

    costs: ClassCosts
    class_weights: Tensor  # [K], on the simplex
    tau: float

    def value(self, transforms: Tensor, potentials: Tensor) -> float:
        """The dual, given the mean c-transform ``[K]`` of each class; in double precision."""
        class_weights = self.class_weights.double()
        level = class_weights @ potentials.double()
        return float(class_weights @ transforms + soft_minimum(level, self.tau))

    def marginal_error(self, masses: Tensor, weights: Tensor) -> float:
        """``sum_k lambda_k * |mass_k - alpha|_1``, in ``[0, 2]``."""
        return float(self.class_weights @ (masses - weights).abs().sum(1))


def step(
    dual: Dual, state: State, masses: Tensor, unit: Tensor, *, size: float, damping: float
) -> tuple[State, Tensor]:
    r"""One ascent step along the rescaled super-gradient :math:`\alpha_q - m_k(q)`.

    Dividing by :math:`\max(\alpha_q, m_k(q))` makes the step one of relative mass, so that its
    length does not depend on Q and a starved atom moves by at most ``size``. In the direction
    that all classes share, the log-sum-exp has curvature :math:`1/\tau`; there the step is
    shortened by :math:`\tau / (\text{damping} + \text{size})`, which keeps it stable at any
    :math:`\tau`, zero included.
    """
    residual = (state.log_weights.exp() - masses) / unit.clamp_min(1e-30)
    shared = dual.class_weights @ residual
    gain = size / (damping + size)
    potentials = state.potentials + size * (residual - shared) + gain * dual.tau * shared
    return State(potentials, torch.log_softmax(state.log_weights - gain * shared, 0)), residual


def look_after(potentials: Tensor) -> int:
    """Steps between two looks at the error of the marginals; each look waits for a GPU."""
    return 1 if potentials.is_cpu else 10


def smoothed_ascent(dual: Dual, state: State, smoothing: float, max_steps: int) -> tuple[State, int]:
    """Accelerated ascent on the dual whose minimum is softened, over all users."""
    tolerance = FINE_TOLERANCE if smoothing == FINE_STAGES[-1] else COARSE_TOLERANCE
    # In a tensor, because a number in Python would wait for a GPU in each step.
    previous, momentum = state, torch.zeros((), dtype=torch.float64, device=state.potentials.device)
    every = look_after(state.potentials)
    for count in range(1, max_steps + 1):
        ahead = state.towards(previous, momentum / (momentum + 3))
        masses = dual.costs.masses(ahead.potentials, smoothing)
        weights = ahead.log_weights.exp()
        unit = torch.maximum(masses, weights)
        following, residual = step(dual, ahead, masses, unit, size=smoothing, damping=dual.tau)
        if count % every == 0 and dual.marginal_error(masses, weights) < tolerance:
            return following, count
        uphill = (residual * (following.potentials - state.potentials)).sum() >= 0
        momentum = torch.where(uphill, momentum + 1, 0.0)
        previous, state = state, following
    return state, max_steps


def polish(dual: Dual, state: State, max_steps: int) -> tuple[State, int]:
    """Super-gradient ascent on the dual itself: the best of the start, the iterates and the mean of the last half."""

    def evaluate(candidate: State) -> tuple[Tensor, float]:
        masses, values = dual.costs.hard_masses(candidate.potentials)
        return masses, dual.value(values, candidate.potentials)

    max_steps = min(max_steps, POLISH_STEPS)
    masses, best_value = evaluate(state)
    best, tail = state, Average()
    for count in range(max_steps):
        size = POLISH_STEP / (1 + 20 * count / max_steps) ** 0.75
        unit = torch.maximum(masses, state.log_weights.exp())
        state, _ = step(dual, state, masses, unit, size=size, damping=max(dual.tau, 1.0))
        masses, value = evaluate(state)
        if value > best_value:
            best, best_value = state, value
        if 2 * count >= max_steps:
            tail.add(state)
    average = tail.state()
    return (average if evaluate(average)[1] > best_value else best), max_steps


def stochastic_ascent(
    dual: Dual,
    state: State,
    stages: Sequence[float],
    max_steps: int,
    generator: torch.Generator,
) -> State:
    """Mini-batch ascent with shrinking steps: the mean of the last half of the iterates.

    The first two thirds of the steps are on the smoothed dual, the last third is on the dual itself.
    """
    tail = Average()
    for count in range(max_steps):
        size = stages[0] * (stages[-1] / stages[0]) ** (count / max_steps)
        smoothing = size if 3 * count < 2 * max_steps else 0.0
        masses = dual.costs.batch_masses(state.potentials, smoothing, generator)
        unit = state.log_weights.exp().clamp_min(1 / state.log_weights.numel())
        state, _ = step(dual, state, masses, unit, size=size, damping=max(dual.tau, BATCH_DAMPING))
        if 2 * count >= max_steps:
            tail.add(state)
    return tail.state()


def ascend(
    dual: Dual,
    state: State,
    stages: Sequence[float],
    max_steps: int,
    generator: torch.Generator,
) -> tuple[State, int]:
    """The ascent for one position of the support: the state it ends in, and the steps it took."""
    if dual.costs.batch_size is not None:
        return stochastic_ascent(dual, state, stages, max_steps, generator), max_steps
    used = 0
    for left, smoothing in zip(range(len(stages), 0, -1), stages, strict=True):
        # Every stage may spend half of what is left, the last one all of it.
        budget = (max_steps - used) if left == 1 else (max_steps - used) // 2
        state, count = smoothed_ascent(dual, state, smoothing, budget)
        used += count
    return state, used
