"""Epochs on a GPU: steps that are recorded once and replayed, and losses that are read once an epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender.bpr import BPR
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from recbole_aia.model.fast import FAST

_WARM_UP = 3  # steps that run as they are before one is recorded: libraries and the optimizer set themselves up in them


@runtime_checkable
class Capturable(Protocol):
    """A term whose step is the same operations every time, on what :meth:`draw` returns."""

    def layout(self) -> Hashable | None:
        """What decides the operations of a step, besides the values of tensors; ``None`` if they cannot be recorded.

        As long as it is equal, :meth:`loss` reads the same tensors, in which values may change.
        """

    def draw(self) -> Any:
        """What a step draws at random: a tensor of constant shape, or something that is always the same."""

    def loss(self, drawn: Any) -> Tensor:
        """The weighted term, a scalar; with no other effect, and without waiting for the device."""


class CapturedStep:
    """A function of tensors whose operations are recorded once, as a CUDA graph, and then replayed.

    A replay launches all operations at once. The first calls run the function as it is, and so do calls with tensors
    of other shapes. On a CPU a replay calls the function with the recorded tensors.

    Args:
        step: the function. It must do the same operations on the same tensors in every call and must not wait for the
            device. It may change tensors in place.
    """

    def __init__(self, step: Callable[..., None]) -> None:
        self._step, self._calls = step, 0
        self._held: list[Tensor] | None = None
        self._replay: Callable[[], Any]
        self._stream: Any = None

    def __call__(self, *inputs: Tensor) -> None:
        """Does a step with the inputs."""
        self._calls += 1
        if self._held is None and self._calls > _WARM_UP:
            self._record(inputs)
        if self._held is None or any(a.shape != b.shape for a, b in zip(self._held, inputs, strict=True)):
            self._aside(inputs)
            return
        for held, given in zip(self._held, inputs, strict=True):
            held.copy_(given)
        self._replay()

    def _record(self, inputs: Sequence[Tensor]) -> None:
        held = [each.clone() for each in inputs]
        if held[0].is_cuda:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step(*held)
            self._replay = graph.replay
        else:
            self._replay = lambda: self._step(*held)
        self._held = held

    def _aside(self, inputs: Sequence[Tensor]) -> None:
        """Runs the step on another stream, as torch asks for what will be recorded."""
        if not inputs[0].is_cuda:
            self._step(*inputs)
            return
        self._stream = stream = self._stream or torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)


class DeviceEpochs:
    """The epochs of a trainer on its device, as RecBole trains them, but nothing waits for the device within one.

    Args:
        trainer: a :class:`~recbole_aia.trainer.base.DefenseTrainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer, self._steps = trainer, dict[Hashable, CapturedStep]()
        self._sums: Tensor | None = None
        self._memory: Any = None
        self._told = False

    @staticmethod
    def takes(trainer: Any) -> bool:
        """Whether epochs of a trainer run here: on a GPU, in one process, in single precision."""
        plain = trainer.config["single_spec"] and not trainer.enable_amp and not trainer.enable_scaler
        return bool(trainer.device.type != "cpu" and plain)

    def run(self, batches: Iterable[Interaction]) -> float | tuple[float, ...] | None:
        """One epoch; returns the sums of its steps' losses, a number if there is one only; ``None`` without batches."""
        trainer = self.trainer
        prepare_optimizer(trainer.optimizer)
        trainer.model.train()
        self._forget_if_moved()
        # RecBole switches anomaly detection on where one of its models is imported, which then looks at every gradient.
        with torch.autograd.set_detect_anomaly(False):
            for batch in batches:
                self._step(batch.to(trainer.device))
        if self._sums is None:
            return None
        trainer._check_nan(self._sums.sum())
        sums = self._sums.tolist()
        return sums[0] if len(sums) == 1 else tuple(sums)

    def _forget_if_moved(self) -> None:
        """Forgets the recorded steps if the phase, or the memory of weights or optimizer, is not the recorded one."""
        trainer = self.trainer
        states = (state.values() for state in trainer.optimizer.state.values())
        tensors = [*trainer.model.parameters(), *(each for state in states for each in state)]
        memory = [trainer.terms, *(each.data_ptr() for each in tensors if isinstance(each, Tensor))]
        if memory != self._memory or self._sums is None:
            self._steps, self._sums = {}, None
        else:
            self._sums.zero_()
        self._memory = memory

    def _step(self, batch: Interaction) -> None:
        trainer = self.trainer
        trainer.before_step()
        layout = self._layout()
        if layout is None:
            self._descend(trainer.step_losses(batch))
            return
        names, draws = batch.columns, [term.draw() for term in trainer.terms]
        key = (layout, tuple(names))
        if key not in self._steps:
            self._steps[key] = CapturedStep(self._recordable(names, draws))
        inputs = [batch[name] for name in names] + [drawn for drawn in draws if isinstance(drawn, Tensor)]
        self._steps[key](*inputs)

    def _recordable(self, names: list[str], draws: list[Any]) -> Callable[..., None]:
        """The step as a function of the columns of a batch and of the tensors among the terms' draws."""

        def step(*inputs: Tensor) -> None:
            batch = Interaction(dict(zip(names, inputs, strict=False)))
            rest = iter(inputs[len(names) :])
            given = [next(rest) if isinstance(drawn, Tensor) else drawn for drawn in draws]
            self._descend(self.trainer.step_losses(batch, given))

        return step

    def _descend(self, losses: Tensor | tuple[Tensor, ...]) -> None:
        trainer = self.trainer
        trainer.optimizer.zero_grad()
        parts = losses if isinstance(losses, tuple) else (losses,)
        sum(parts).backward()  # type: ignore[union-attr]
        if trainer.clip_grad_norm:
            clip_grad_norm_(trainer.model.parameters(), **trainer.clip_grad_norm)
        trainer.optimizer.step()
        values = torch.stack([part.detach().double().sum() for part in parts])
        if self._sums is None:
            self._sums = torch.zeros_like(values)
        self._sums += values

    def _layout(self) -> Hashable | None:
        """What decides the operations of the next step; ``None`` if it cannot be recorded."""
        trainer = self.trainer
        found = None
        if type(trainer.model) in (BPR, *FAST.values()) and records(trainer.optimizer):
            found = trainer.step_layout()
        if found is None and not self._told:
            self._told = True
            logging.getLogger().info("The steps of this training are launched operation by operation.")
        return found


def prepare_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Makes Adam compute with few launches, and count its steps on the device."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return
    for group in optimizer.param_groups:
        group |= {"fused": True, "foreach": False, "capturable": True}
    for parameter, state in optimizer.state.items():
        state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=parameter.device)


def records(optimizer: torch.optim.Optimizer) -> bool:
    """Whether steps of an optimizer can be recorded."""
    return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
