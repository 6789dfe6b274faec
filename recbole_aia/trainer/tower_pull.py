"""The pull on a tower during training: the gradient of the statistics, added to that of the recommendation loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import ClassDiscrepancy, Discrepancy, MixedDiscrepancy, gradient_length
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import discrepancy_settings
from recbole_aia.trainer.posteriors import learn_readouts

_PULLS = 50  # about how often a tower is pulled in an epoch
_PULL_USERS = 512  # users in a pull; all users, if there are at most twice as many
_PULLS_A_DRAW = 20  # pulls with the same users, before others are drawn
_TINY = 1e-12  # keeps the ratio of two gradients' lengths finite if one length is zero


class TowerPull:
    r"""Adds the gradient of the statistics to a tower's gradient, scaled to the same length and shorter near chance.

    Every m-th step is a pull and adds

    .. math:: m \cdot \min(1, s) \, \frac{\lVert g_R \rVert}{\lVert \nabla s \rVert} \, \nabla s

    to the gradient :math:`g_R` of the recommendation loss. Here :math:`s` is the root mean square of the statistics,
    which is about 1 for permuted labels. The factor m makes up for the steps without a pull.

    The statistics are those of a random draw of users. They are estimated anew with every draw, and when the tower's
    vectors have changed so much that they no longer fit.

    Args:
        trainer: the trainer, whose labelled users are drawn.
        n_steps: number of training steps in an epoch.

    Source:
        Ours.
    """

    def __init__(self, trainer: DefenseTrainer, n_steps: int) -> None:
        self.trainer, self.every, self.step = trainer, max(1, n_steps // _PULLS), 0
        self.by_label = bool(trainer.config["calibrated_labels"] == "own")
        self.known = (trainer.labeled_users()[0] if self.by_label else trainer.view.users).cpu()
        columns = enumerate(trainer.labels.labels[self.known].t())
        self.classes = [(a, k) for a, column in columns for k in column[column >= 0].unique().tolist()]
        self.generator = torch.Generator().manual_seed(int(trainer.config["seed"]))

    @property
    def due(self) -> bool:
        """Whether the tower is pulled in the present step, whose number :attr:`step` the trainer counts from 1."""
        return self.step % self.every == 0

    def __call__(self, recommendation: Tensor) -> Tensor:
        """A scalar with the value s and the gradient of the class docstring; 0 in steps without a pull.

        Args:
            recommendation: the recommendation loss of the step, a scalar.
        """
        if not self.due:
            return torch.zeros_like(recommendation)
        if (self.step // self.every - 1) % _PULLS_A_DRAW == 0:
            self._draw()
        parameters, served = self.trainer.view.tower(), self.trainer.view.served
        embeddings = served(self.users)
        # Within a few steps a unit that was zero for nearly all users can become active, and its scale changes.
        if not self.discrepancy.fits(embeddings):
            self._measure(embeddings.detach())
        size = self.discrepancy(embeddings).square().mean().sqrt()
        pulls = torch.autograd.grad(size, parameters)
        own = torch.autograd.grad(recommendation, parameters, retain_graph=True)
        lengths = gradient_length(own) / gradient_length(pulls).clamp_min(_TINY)
        weight = self.every * size.detach().clamp_max(1) * lengths
        linear = sum(((weight * pull) * p).sum() for pull, p in zip(pulls, parameters, strict=True))
        return size.detach() + linear - linear.detach()  # type: ignore[union-attr]

    @torch.no_grad()
    def _draw(self) -> None:
        trainer, labels, users = self.trainer, self.trainer.labels.labels, self.known
        if len(users) > 2 * _PULL_USERS:
            order = users[torch.randperm(len(users), generator=self.generator)]
            # Two users of each class come first, because a class with fewer has no statistic.
            first = [order[labels[order, a] == k][:2] for a, k in self.classes]
            users = torch.cat([*first, order])[: max(_PULL_USERS, 2 * len(first))].unique()
        self.users, self.labels = users.to(trainer.device), labels[users].to(trainer.device)
        if not self.by_label:
            everyone, known, names = trainer.view.served(), trainer.labels.labels[1:], trainer.labels.names
            found = learn_readouts(everyone, known.to(everyone.device), names, int(trainer.config["seed"]))
            self.said = [readout(everyone[self.users - 1]) for readout in found]
        self._measure(trainer.view.served(self.users))

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` brings back: the draw of users, and at which vectors it was measured."""
        drawn = {name: getattr(self, name, None) for name in ("users", "said", "measured")}
        return {"step": self.step, "generator": self.generator.get_state(), **drawn}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Brings back a :meth:`state`."""
        self.step = state["step"]
        self.generator.set_state(state["generator"])
        if state["measured"] is not None:
            device, (embeddings, step) = self.trainer.device, state["measured"]
            self.users = state["users"].to(device)
            self.labels = self.trainer.labels.labels[state["users"]].to(device)
            if state["said"] is not None:
                self.said = [part.to(device) for part in state["said"]]
            self._measure(embeddings.to(device), step)

    def _measure(self, embeddings: Tensor, step: int | None = None) -> None:
        """Estimates the statistics at the users' vectors ``[n, d]``, with the seed of a step (the present one)."""
        self.measured = embeddings.detach(), self.step if step is None else step
        settings = {**discrepancy_settings(self.trainer.config), "seed": self.measured[1]}
        self.discrepancy: Discrepancy | MixedDiscrepancy
        try:
            if self.by_label:
                self.discrepancy = ClassDiscrepancy(embeddings, self.labels, **settings)
            else:
                self.discrepancy = MixedDiscrepancy(embeddings, self.labels, self.said, **settings)
        except ValueError as error:
            raise ConfigValueError(f"calibrated: {error}. Lower the learning_rate.") from error
