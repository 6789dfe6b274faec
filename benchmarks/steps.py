"""Times one training step (loss, backward, Adam), our models against RecBole's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import torch
from torch import nn

from benchmarks.measure import interleaved, max_abs_error, speed_up
from benchmarks.setting import Shape, fast_and_stock


def step(name: str, model: str, shape: Shape, repeats: int) -> dict[str, Any]:
    """Times steps of both versions of a model, on the same few batches."""
    fast, stock, (train_data, _, _) = fast_and_stock(model, shape)
    batches = [batch.to(fast.device) for batch in islice(train_data, 5)]
    error, relative = _gradient_errors(fast, stock, batches[0])
    ours, reference = interleaved([_trainer(fast, batches), _trainer(stock, batches)], repeats, warm_up=2)
    return speed_up(name, ours, reference, error, max_rel_error=relative, model=model, repeats=repeats)


def _trainer(model: nn.Module, batches: list[Any]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    turns = cycle(batches)
    model.train()

    def one_step() -> None:
        optimizer.zero_grad()
        model.calculate_loss(next(turns)).backward()
        optimizer.step()

    return one_step


def _gradient_errors(fast: nn.Module, stock: nn.Module, batch: Any) -> tuple[float, float]:
    """Largest difference between gradients: absolute, and relative to the largest entry of the parameter's gradient."""
    for model in (fast, stock):
        model.train()
        torch.manual_seed(0)
        model.calculate_loss(batch).backward()
    pairs = [(ours.grad, theirs.grad) for ours, theirs in zip(fast.parameters(), stock.parameters(), strict=True)]
    errors = [max_abs_error(ours, theirs) for ours, theirs in pairs]
    relative = [error / float(theirs.abs().max()) for error, (_, theirs) in zip(errors, pairs, strict=True)]
    return max(errors), max(relative)
