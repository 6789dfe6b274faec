"""Stochastic weight averaging: the mean of a model's weights over steps of its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_swa_multi_avg_fn


class WeightAverage:
    r"""The mean of a model's weights over steps of its training.

    .. math:: \bar\theta = \frac1T \sum_{t=1}^T \theta_t

    The last steps of an optimizer scatter around an optimum, and their mean is closer to it than any single step.
    Buffers are not averaged: a model with batch normalization would have to compute its statistics again.

    Args:
        model: the model whose parameters are averaged, in their own precision.

    Source:
        Polyak and Juditsky (1992); Izmailov et al. (2018) for networks.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = list(model.parameters())
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._update, self._count = get_swa_multi_avg_fn(), 0

    @torch.no_grad()
    def add(self) -> None:
        """Adds the present weights to the mean."""
        self._update(self._means, [parameter.detach() for parameter in self._parameters], self._count)
        self._count += 1

    @torch.no_grad()
    def place(self) -> None:
        """Adds the present weights to the mean, and sets the model's weights to it."""
        self.add()
        for parameter, mean in zip(self._parameters, self._means, strict=True):
            parameter.copy_(mean)

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` brings back."""
        return {"means": self._means, "count": self._count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Brings back a :meth:`state`."""
        for mean, kept in zip(self._means, state["means"], strict=True):
            mean.copy_(kept)
        self._count = state["count"]
