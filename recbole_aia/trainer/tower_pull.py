"""The pull on a tower during training: the gradient of the statistics, added to that of the recommendation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import ClassDiscrepancy, gradient_length
from recbole_aia.trainer.chance import discrepancy_settings

if TYPE_CHECKING:
    from recbole_aia.trainer.calibrated import CalibratedTrainer

_PULLS = 50  # pulls of a tower in an epoch, about
_PULL_USERS = 512  # users drawn for a pull, where there are more than twice as many
_PULLS_A_DRAW = 20  # pulls after which other users are drawn
_TINY = 1e-12  # keeps the ratio of two gradients finite where one is zero


class TowerPull:
    """Adds to a tower's gradient that of the statistics: on average as long as its own, and shorter near chance.

    The statistics are those of users drawn now and then, measured anew when the tower has outgrown them. Their gradient
    is scaled to the length of that of the recommendation loss, times their root mean square, which is 1 under permuted
    labels, where that is less than 1.
    """

    def __init__(self, trainer: CalibratedTrainer, n_steps: int) -> None:
        self.trainer, self.every, self.step = trainer, max(1, n_steps // _PULLS), 0
        self.known = trainer.labeled_users()[0].cpu()
        columns = enumerate(trainer.labels.labels[self.known].t())
        self.classes = [(a, k) for a, column in columns for k in column[column >= 0].unique().tolist()]
        self.generator = torch.Generator().manual_seed(int(trainer.config["seed"]))

    def __call__(self, recommendation: Tensor) -> Tensor:
        """The statistics' root mean square, a scalar with that gradient; 0 in steps without a pull."""
        self.step += 1
        if self.step % self.every:
            return torch.zeros_like(recommendation)
        if (self.step // self.every - 1) % _PULLS_A_DRAW == 0:
            self._draw()
        parameters, served = self.trainer.view.tower(), self.trainer.view.served
        embeddings = served(self.users)
        # A unit that was silent for nearly all users can wake within a few steps.
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
            # Two users of each class first, so that every draw can be judged.
            first = [order[labels[order, a] == k][:2] for a, k in self.classes]
            users = torch.cat([*first, order])[: max(_PULL_USERS, 2 * len(first))].unique()
        self.users, self.labels = users.to(trainer.device), labels[users].to(trainer.device)
        self._measure(trainer.view.served(self.users))

    def _measure(self, embeddings: Tensor) -> None:
        settings = {**discrepancy_settings(self.trainer.config), "seed": self.step}
        try:
            self.discrepancy = ClassDiscrepancy(embeddings, self.labels, **settings)
        except ValueError as error:
            raise ConfigValueError(f"calibrated: {error}. Lower the learning_rate.") from error
