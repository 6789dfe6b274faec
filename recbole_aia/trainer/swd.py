"""Distribution matching in training (SWD): the distance of classes' distributions is added to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key, Number
from recbole_aia.losses import distribution_to_distribution, random_directions, sliced_wasserstein
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import CALIBRATE
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.terms import AttributeTerm


class SWDTrainer(DefenseTrainer):
    r"""SWD (Escobedo et al. 2025): the sliced Wasserstein distance, or MMD, of classes is added to the loss.

    .. math:: L = L_{rec} + w \sum_a D\bigl(P(Y \mid a = k), P(Y \mid a = l)\bigr)

    D is :func:`~recbole_aia.losses.sliced_wasserstein` along directions that are drawn anew in each step, or
    :func:`~recbole_aia.losses.distribution_to_distribution`, summed over pairs of classes. The published code has two
    classes. Every labelled user counts alike.
    """

    defense = "swd"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"swd_weight": {"low": 0.01, "high": 100, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrate": CALIBRATE,
        "swd_distance": Choice("sliced", "sliced (Wasserstein) or mmd (five kernels).", choices=("sliced", "mmd")),
        "swd_weight": Number(1.0, "Weight of the distance against the recommendation loss.", low=0),
        "swd_projections": Count(32, "Directions in a step, for sliced.", low=1),
        "swd_batch_users": Count(1024, "Most users in a step; drawn at random if there are more.", low=2),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"swd_distance": "sliced", "swd_weight": 100.0, "swd_projections": 8}
    }

    def phases(self) -> list[Phase]:
        """One phase for the whole training, with a term for each attribute."""
        return [Phase(self.config["epochs"], tuple(SWDTerm(self, name) for name in self.labels.names))]


class SWDTerm(AttributeTerm):
    """The distance of one attribute's classes."""

    def __init__(self, trainer: SWDTrainer, attribute: str) -> None:
        super().__init__(trainer, attribute, trainer.config["swd_batch_users"])
        self.directions = torch.Generator(trainer.device).manual_seed(int(trainer.config["seed"]))

    def __call__(self) -> Tensor:
        """The weighted distance of this step's users; 0 if they are of one class, or with ``calibrate`` at chance."""
        rows, config = self.draw(), self.trainer.config
        embeddings, classes = self.trainer.view.served(self.users[rows]), self.classes[rows]
        if len(classes.unique()) < 2 or self.at_chance():
            return 0.0 * embeddings.sum()
        if config["swd_distance"] == "mmd":
            distance = distribution_to_distribution(embeddings, classes)
        else:
            drawn = random_directions(embeddings.shape[1], config["swd_projections"], self.directions)
            distance = sliced_wasserstein(embeddings, classes, drawn)
        return float(config["swd_weight"]) * distance

    def state(self) -> dict[str, Any]:
        """See :meth:`AttributeTerm.state`; with the generator of directions."""
        return {**super().state(), "directions": self.directions.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`AttributeTerm.load_state`."""
        super().load_state(state)
        self.directions.set_state(state["directions"])
