"""What a training consists of: phases of epochs, and the terms that a phase adds to the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


class LossTerm(Protocol):
    """A term that a defense adds to the recommendation loss."""

    name: str

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch, whose number counts from the start of its phase; gradients are not recorded for it."""

    def __call__(self) -> Tensor:
        """The weighted term for one step, a scalar."""


@runtime_checkable
class RecordableTerm(Protocol):
    """A term whose step a GPU can record and replay, because all that changes from step to step is drawn before it."""

    def draw(self) -> Tensor | None:
        """What a step needs beside the model, a tensor of constant shape; ``None`` for a step without the term."""

    def loss(self, drawn: Tensor | None) -> Tensor:
        """The weighted term, a scalar.

        It changes nothing, does not wait for the device, and reads the same tensors in all steps of a phase.
        """


@dataclass(frozen=True)
class Phase:
    """Epochs of training under the same loss: the recommendation loss plus ``terms``."""

    epochs: int
    terms: tuple[LossTerm, ...] = ()
