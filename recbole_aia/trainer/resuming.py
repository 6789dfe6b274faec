"""What goes on after an interruption: a training from its last epoch, an unlearning from its last steps."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from recbole.trainer import Trainer
from recbole.utils import set_color

from recbole_aia.ranks import ranks
from recbole_aia.storage.snapshots import Snapshots, random_states, restore_random
from recbole_aia.trainer.curves import Curves
from recbole_aia.trainer.targets import Target


@runtime_checkable
class Resumable(Protocol):
    """A part of a defense that an interrupted training or unlearning takes up again."""

    def state(self) -> dict[str, Any]:
        """All that the part keeps from step to step, as tensors and plain data."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Brings back a :meth:`state`, whose tensors are on the CPU."""


class ResumingTrainer(Trainer):  # type: ignore[misc]
    """RecBole's trainer with snapshots: of the model, the optimizer, early stopping, losses and all random numbers.

    A snapshot is taken at the start of an epoch, when everything of the epoch before is over.
    """

    #: Whether :meth:`state` and the terms' states hold all that this class keeps between epochs, so that an interrupted
    #: training can go on from its last epoch; others begin anew. It is not inherited: a subclass may keep more.
    resumable: ClassVar[bool] = False
    #: Where an interrupted training or unlearning finds what it has done, and keeps what it does; ``None`` for nowhere.
    snapshots: Snapshots | None = None
    #: The terms of the loss in the present phase; those that are :class:`Resumable` are part of a snapshot.
    terms: Sequence[Any] = ()
    #: What is recorded of the epochs that are over.
    curves: Curves

    def state(self) -> dict[str, Any]:
        """All that a defense keeps between epochs besides RecBole's own state and its terms'."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Brings back a :meth:`state`, before the first epoch of this process."""

    def last_snapshot(self, *loaders: Any) -> dict[str, Any] | None:
        """The last snapshot of an interrupted training, from whose epoch this one starts; ``None`` to start anew.

        Args:
            loaders: the loaders of the training, whose random numbers belong to a snapshot.
        """
        self._generators = [getattr(loader, "generator", None) for loader in loaders]
        self._began = time.perf_counter()
        kept = ranks().told(self._last)
        if kept is None:
            return None
        self._began -= kept["seconds"]
        self.start_epoch = kept["epoch"]
        self.logger.info(set_color("Interrupted training", "pink") + f": goes on from epoch {self.start_epoch}")
        return kept

    def _last(self) -> dict[str, Any] | None:
        kept = None if self.snapshots is None else self.snapshots.last()
        # The file of the best state so far belongs to the snapshot.
        return None if kept is None or (kept["best"] and not Path(self.saved_model_file).is_file()) else kept

    def go_on(self, kept: Mapping[str, Any] | None) -> None:
        """Brings back a snapshot, if there is one, in the phase in which it was taken."""
        if kept is None:
            return
        self.model.load_state_dict(kept["model"])
        self.model.load_other_parameter(kept["others"])
        self.optimizer.load_state_dict(kept["optimizer"])
        result = kept["best_valid_result"]
        self.best_valid_result = None if result is None else OrderedDict(result)
        self.best_valid_score, self.cur_step = kept["best_valid_score"], kept["cur_step"]
        self.train_loss_dict = dict(kept["losses"])
        self.curves.epochs = list(kept.get("curves", []))
        self.load_state(kept["defense"])
        for term, state in zip(self.terms, kept["terms"], strict=True):
            if isinstance(term, Resumable):
                term.load_state(state)
        restore_random(kept["random"], *self._generators)

    def keep(self, epoch: int) -> None:
        """Keeps a snapshot of the training before ``epoch``, if one is due."""
        able = vars(type(self)).get("resumable", False) and self.config["single_spec"]
        if self.snapshots is None or not able or not self.snapshots.due:
            return
        result = self.best_valid_result
        self.snapshots.save(
            {
                "epoch": epoch,
                "seconds": time.perf_counter() - self._began,
                "best": Path(self.saved_model_file).is_file(),
                "model": self.model.state_dict(),
                "others": self.model.other_parameter(),
                "optimizer": self.optimizer.state_dict(),
                "best_valid_result": None if result is None else {name: float(each) for name, each in result.items()},
                "best_valid_score": float(self.best_valid_score),
                "cur_step": int(self.cur_step),
                "losses": {number: float(loss) for number, loss in self.train_loss_dict.items()},
                "curves": list(self.curves.epochs),
                "defense": self.state(),
                "terms": [term.state() if isinstance(term, Resumable) else {} for term in self.terms],
                "random": random_states(*self._generators),
            }
        )

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, Any]:
        score, result = super()._valid_epoch(valid_data, show_progress)
        self.curves.validated(score)
        return score, result


class Descent:
    """The state of an unlearning between two steps: what moves, its optimizer, random numbers, and further parts.

    Args:
        target: what moves.
        optimizer: of the target's parameters.
        parts: all else that is kept from step to step.
    """

    def __init__(self, target: Target, optimizer: torch.optim.Optimizer, parts: Sequence[Resumable]) -> None:
        self.target, self.optimizer, self.parts = target, optimizer, parts

    def state(self, step: int, converged: bool) -> dict[str, Any]:
        """The state after ``step`` steps."""
        return {
            "step": step,
            "converged": converged,
            "parameters": [parameter.detach() for parameter in self.target.parameters],
            "optimizer": self.optimizer.state_dict(),
            "random": random_states(),
            "parts": [part.state() for part in self.parts],
        }

    @torch.no_grad()
    def go_on(self, state: Mapping[str, Any]) -> tuple[int, bool]:
        """Brings back a :meth:`state`; returns its step, and whether it had converged."""
        for parameter, kept in zip(self.target.parameters, state["parameters"], strict=True):
            parameter.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        for part, kept in zip(self.parts, state["parts"], strict=True):
            part.load_state(kept)
        restore_random(state["random"])  # at the end, because a part may draw random numbers to find its place again
        return int(state["step"]), bool(state["converged"])


class Plateau:
    """Says when a loss has stopped falling.

    Args:
        tolerance: the least fall that counts, relative to the lowest value so far.
        patience: number of looks in a row without such a fall, after which the loss has stopped falling.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.lowest, self.idle = float("inf"), 0

    def reached(self, loss: float) -> bool:
        """Looks at the next value of the loss; true if the loss has stopped falling."""
        fallen = loss < self.lowest - self.tolerance * abs(self.lowest) if self.lowest < float("inf") else True
        self.lowest, self.idle = (loss, 0) if fallen else (self.lowest, self.idle + 1)
        return self.idle >= self.patience

    def state(self) -> dict[str, Any]:
        """See :meth:`Resumable.state`."""
        return {"lowest": self.lowest, "idle": self.idle}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Resumable.load_state`."""
        self.lowest, self.idle = state["lowest"], state["idle"]
