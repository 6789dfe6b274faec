"""Epochs on a GPU and of several processes: losses are read once an epoch; on one GPU steps are recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.utils import set_color
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_aia.model import recordable
from recbole_aia.ranks import ranks
from recbole_aia.trainer.recording import Recorded

#: Optimizers whose steps can be recorded.
_RECORDABLE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class DeviceEpochs:
    """The epochs of a trainer, as RecBole trains them, but within an epoch nothing waits for the device.

    A step is its losses, their gradients, and the optimizer's move. A step of a model and of terms that are known to be
    recordable is recorded and replayed; other steps are launched operation by operation.

    Args:
        trainer: a :class:`~recbole_aia.trainer.base.DefenseTrainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._steps: dict[Hashable, Recorded[int]] = {}
        self._memory: list[Any] = []
        self._sums = torch.zeros(0)
        self._known = self._told = False

    @staticmethod
    def takes(trainer: Any) -> bool:
        """Whether a trainer's epochs run here: on a GPU, or in several processes, without mixed precision."""
        plain = trainer.config["single_spec"] and not trainer.enable_amp and not trainer.enable_scaler
        return bool((trainer.device.type == "cuda" or ranks().count > 1) and plain)

    def run(self, batches: Iterable[Interaction], epoch: int, show_progress: bool) -> Any:
        """One epoch: the sums of its steps' losses, a tuple if there are several, ``None`` without batches."""
        trainer, count = self.trainer, 0
        trainer.model.train()
        here, on_gpu = ranks(), trainer.device.type == "cuda"
        self._known = recordable(trainer.model) and type(trainer.optimizer) in _RECORDABLE and here.count == 1
        if self._memory != self._places():
            self._steps = {}
            # A tower's pull is a loss beside those of the terms.
            self._sums = torch.zeros(len(trainer.terms) + 2, dtype=torch.float64, device=trainer.device)
        self._sums.zero_()
        title = set_color(f"Train {epoch:>5}", "pink")
        # RecBole switches anomaly detection on where one of its models is imported. It looks at every gradient.
        with torch.autograd.set_detect_anomaly(False), in_one_launch(trainer.optimizer) if on_gpu else nullcontext():
            for batch in tqdm(batches, ncols=100, desc=title, disable=not show_progress):
                count = self._step(batch.to(trainer.device))
        self._memory = self._places()
        here.add(self._sums)
        trainer._check_nan(self._sums.sum())
        sums = self._sums[:count].tolist()
        return tuple(sums) if count > 1 else next(iter(sums), None)

    def _places(self) -> list[Any]:
        """What recorded steps depend on: the terms, and where weights and the optimizer's tensors lie."""
        states = (each for state in self.trainer.optimizer.state.values() for each in state.values())
        tensors = [*self.trainer.model.parameters(), *states, self._sums]
        return [self.trainer.terms, *(each.data_ptr() for each in tensors if isinstance(each, Tensor))]

    def _step(self, batch: Interaction) -> int:
        """Does one step; returns the number of its losses."""
        trainer = self.trainer
        trainer.before_step()
        kind = self._kind()
        if kind is None:
            return self._descend(trainer.step_losses(batch))
        names, draws = batch.columns, [term.draw() for term in trainer.terms]
        key = kind, *names, *(drawn is None for drawn in draws)
        if key not in self._steps:
            self._steps[key] = Recorded(self._of_tensors(names, [drawn is not None for drawn in draws]))
        return self._steps[key](*(batch[name] for name in names), *(drawn for drawn in draws if drawn is not None))

    def _of_tensors(self, names: list[str], drawn: list[bool]) -> Callable[..., int]:
        """The step as a function of the columns of a batch, and of what terms have drawn, those that have."""

        def step(*tensors: Tensor) -> int:
            batch, rest = Interaction(dict(zip(names, tensors, strict=False))), iter(tensors[len(names) :])
            draws = [next(rest) if each else None for each in drawn]
            return self._descend(self.trainer.step_losses(batch, draws))

        return step

    def _descend(self, losses: Tensor | tuple[Tensor, ...]) -> int:
        trainer = self.trainer
        parts = losses if isinstance(losses, tuple) else (losses,)
        trainer.optimizer.zero_grad()
        sum(parts[1:], start=parts[0]).backward()
        # A graph model's padding has no gradient, and no process of the same training has one.
        ranks().add(*(weight.grad for weight in trainer.model.parameters() if weight.grad is not None))
        if trainer.clip_grad_norm:
            clip_grad_norm_(trainer.model.parameters(), **trainer.clip_grad_norm)
        trainer.optimizer.step()
        self._sums[: len(parts)] += torch.stack([part.detach().double().sum() for part in parts])
        return len(parts)

    def _kind(self) -> Hashable | None:
        """What decides the operations of the next step; ``None`` if it cannot be recorded."""
        trainer = self.trainer
        kind: Hashable | None = trainer.step_kind() if self._known else None
        if kind is None and not self._told:
            self._told = True
            if ranks().count > 1:
                return None
            logging.getLogger().info("Steps of this training cannot be recorded. The GPU gets their operations singly.")
        return kind


@contextmanager
def in_one_launch(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, Adam moves all parameters in one launch and counts its steps on the device.

    Its settings are as before afterwards, so that what is saved of it can be taken up on a CPU.
    """
    ours = type(optimizer) in (torch.optim.Adam, torch.optim.AdamW)
    groups = optimizer.param_groups if ours else []
    before = [{name: group[name] for name in ("fused", "foreach", "capturable")} for group in groups]
    for group in groups:
        group.update(fused=True, foreach=False, capturable=group["params"][0].is_cuda)
    for parameter, state in optimizer.state.items() if ours else ():
        state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=parameter.device)
    try:
        yield
    finally:
        for group, settings in zip(groups, before, strict=True):
            group.update(settings)
