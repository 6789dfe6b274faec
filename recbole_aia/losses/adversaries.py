"""Adversaries that run side by side, and the reversal of their gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:  # type: ignore[override]
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.weight * gradient, None


def reverse_gradient(values: Tensor, weight: float = 1.0) -> Tensor:
    r"""The values themselves; their gradient is :math:`-w` times what comes back.

    A loss behind it is minimised by its own parameters and maximised by whatever computes ``values``.

    Args:
        values: any shape.
        weight: w, >= 0.

    Source:
        Ganin and Lempitsky (2015), section 3.2.
    """
    reversed_values: Tensor = _Reversal.apply(values, weight)  # type: ignore[no-untyped-call]
    return reversed_values


class Adversaries:
    r"""Networks of one hidden layer that learn an attribute of users, all in one product; each from its own start.

    .. math:: f_j(x) = V_j \, \mathrm{relu}(W_j \, \mathrm{dropout}(x) + b_j) + c_j

    They are trained by Adam. Each has dropout masks of its own, so that they do not become copies of each other.

    Args:
        width: d, dimensions of users.
        outputs: number of classes, or 1 to predict a number.
        count: number of networks J.
        hidden: units of the hidden layer.
        dropout: share of inputs that a network does not see in a step of training.
        learning_rate: Adam's step.
        weight_decay: Adam's L2 penalty.
        class_weights: weight of each class in the loss, ``[outputs]``; ``None`` for numbers, whose loss is the mean
            squared error.
        generator: draws starts and masks; its device is the networks'.

    Source:
        Adv-MultVAE (Ganhör et al., SIGIR 2022), whose ten adversaries have different starts.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        count: int,
        hidden: int,
        dropout: float,
        learning_rate: float,
        weight_decay: float,
        class_weights: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        self.dropout, self.class_weights, self._generator = dropout, class_weights, generator
        shapes = [(count, width, hidden), (count, 1, hidden), (count, hidden, outputs), (count, 1, outputs)]
        bounds = [1 / math.sqrt(width)] * 2 + [1 / math.sqrt(hidden)] * 2  # torch's own start of a linear layer
        self.parameters = [self._uniform(shape, bound) for shape, bound in zip(shapes, bounds, strict=True)]
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, weight_decay=weight_decay)

    def learn(self, embeddings: Tensor, targets: Tensor) -> None:
        """A step of each network on users ``[n, d]`` and their classes or numbers ``[n]``."""
        with torch.enable_grad():
            losses = self._losses(embeddings.detach(), targets, self.parameters, mask=True)
            for parameter, gradient in zip(
                self.parameters, torch.autograd.grad(losses.sum(), self.parameters), strict=True
            ):
                parameter.grad = gradient
        self.optimizer.step()

    def loss(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of the networks, which stay as they are; gradients flow to ``embeddings`` alone."""
        return self._losses(embeddings, targets, [each.detach() for each in self.parameters], mask=False).mean()

    @torch.no_grad()
    def outputs(self, embeddings: Tensor) -> Tensor:
        """What each network says of each user, ``[J, n, outputs]``: logits, or numbers."""
        return self._forward(embeddings, self.parameters, mask=False)

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and generator, as tensors and plain data."""
        tensors = [each.detach().clone() for each in self.parameters]
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return {"weights": tensors, "optimizer": optimizer, "drawn": self._generator.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a :meth:`state`."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["weights"], strict=True):
                parameter.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["drawn"])

    def _losses(self, embeddings: Tensor, targets: Tensor, parameters: list[Tensor], mask: bool) -> Tensor:
        """The loss of each network, ``[J]``."""
        said = self._forward(embeddings, parameters, mask)
        if self.class_weights is None:
            return (said.squeeze(2) - targets).square().mean(1)
        costs = -F.log_softmax(said, dim=2).gather(2, targets.expand(len(said), -1).unsqueeze(2)).squeeze(2)
        weights = self.class_weights[targets]
        return costs @ weights / weights.sum()

    def _forward(self, embeddings: Tensor, parameters: list[Tensor], mask: bool) -> Tensor:
        inner, inner_bias, outer, outer_bias = parameters
        inputs = embeddings.expand(len(inner), -1, -1)
        if mask and self.dropout > 0:
            drawn = torch.rand(inputs.shape, generator=self._generator, device=inputs.device, dtype=inputs.dtype)
            inputs = inputs * (drawn >= self.dropout) / (1 - self.dropout)
        return torch.baddbmm(outer_bias, torch.baddbmm(inner_bias, inputs, inner).relu(), outer)

    def _uniform(self, shape: tuple[int, ...], bound: float) -> Tensor:
        drawn = torch.rand(shape, generator=self._generator, device=self._generator.device)
        return (2 * bound * drawn - bound).requires_grad_()
