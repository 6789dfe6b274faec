"""U2U-R and D2D-R: draw users, or distributions of users, of different classes together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Key, Number
from recbole_aia.errors import AttributeDataError
from recbole_aia.losses import distribution_to_distribution, rank_margin, user_to_user
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.post_keys import descent_keys
from recbole_aia.unlearning.requests import UnlearningTask

_RANKS = 20  # best items of each user whose order the regularizer keeps
_STEP_USERS = 1024  # most users in the loss of a training step; drawn at random if there are more
_SCORED = 512  # users whose scores are computed at a time, which bounds the memory

#: A loss of embeddings ``[n, d]`` and labels ``[n]``.
PairLoss = Callable[[Tensor, Tensor], Tensor]


def _mean_user_to_user(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The mean of :func:`user_to_user` over pairs of users of different classes."""
    sizes = labels[labels >= 0].bincount().to(embeddings.dtype)
    return user_to_user(embeddings, labels) / ((sizes.sum().square() - sizes.square().sum()) / 2)


#: After training, U2U is a sum over pairs, as published. In training it is a mean, because steps take different numbers
#: of users.
_AFTER: dict[str, PairLoss] = {"u2u": user_to_user, "d2d": distribution_to_distribution}
_IN: dict[str, PairLoss] = {"u2u": _mean_user_to_user, "d2d": distribution_to_distribution}


class _PairsAfter(Unlearner):
    r"""Minimizes a pair loss of each attribute plus a regularizer that keeps the order of each user's best items.

    .. math:: L = \sum_a L_a + \lambda \, L_{rank}

    :math:`L_a` is :func:`~recbole_aia.losses.user_to_user` or :func:`~recbole_aia.losses.distribution_to_distribution`
    with the labels of attribute a, :math:`L_{rank}` is :func:`~recbole_aia.losses.rank_margin`, and :math:`\lambda` is
    the key ``u2u_regularization`` or ``d2d_regularization``.

    Source:
        Making Users Indistinguishable (2023).
    """

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """See :meth:`Unlearner.can_hide`: users of at least two classes must ask, to be drawn together."""
        return int((asked > 0).sum()) > 1

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`; uses no interactions."""
        for name, column in zip(task.names, task.labels.t(), strict=True):
            if len(column[column >= 0].unique()) < 2:
                raise AttributeDataError(
                    f"all users who ask are of one class of '{name}', and {self.defense} draws classes together. "
                    f"Ask for more users, or leave '{name}' out."
                )
        target, columns = self.target(task), task.labels.t()
        users, items = self._ranked(task.users)
        ranks, weight = len(items) // len(task.users), self.config[f"{self.defense}_regularization"]

        def gradients() -> tuple[Tensor, list[Tensor]]:
            with self.view.shared_forward():
                here = target.embeddings()
                leaf = here.detach().requires_grad_()
                loss = sum((_AFTER[self.defense](leaf, column) for column in columns), start=leaf.new_zeros(()))
                pulls = target.pull_back(here, torch.autograd.grad(loss, leaf)[0])
                lead, holds = target.model_gradient(lambda: rank_margin(self.view.logits(users, items).view(-1, ranks)))
            moves = [pull + weight * hold for pull, hold in zip(pulls, holds, strict=True)]
            return loss.detach() + weight * lead, moves

        return self.descend(target, gradients, ())

    @torch.no_grad()
    def _ranked(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of users and their best items, best first: users ``[n * r]`` and items ``[n * r]``, with r <= 20."""
        best, ranks = [], min(_RANKS, self.model.n_items - 1)
        with self.view.shared_forward():
            for part in users.split(_SCORED):
                scores = self.view.scores(self.view.served(part))
                scores[:, 0] = -torch.inf  # the padding item
                best.append(scores.topk(ranks, dim=1).indices)
        return users.repeat_interleave(ranks), torch.cat(best).flatten()


def _keys_after(name: str) -> dict[str, Key]:
    margin = Number(1e-6, "Weight of the rank margin of each user's 20 best items.", low=0)
    return {f"{name}_regularization": margin, **descent_keys(rate=0.0025, steps=500)}


def _presets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """The authors' settings: Adam at 1e-3, and 500 steps without an earlier end."""
    return {
        "paper": {
            f"{name}_regularization": 1e-6,
            "unlearn_optimizer": "adam",
            "unlearn_relative": False,
            "unlearn_learning_rate": 1e-3,
            "unlearn_max_steps": 500,
            "unlearn_tolerance": 0.0,
            "unlearn_patience": 50,  # looks, each after ten steps: as many as there are
            "target": "own",
        }
    }


def _keys_in(name: str) -> dict[str, Key]:
    return {f"{name}_weight": Number(1.0, "Weight against the recommendation loss.", low=0)}


class U2UUnlearner(_PairsAfter):
    """U2U-R (Making Users Indistinguishable, 2023): users of different classes are drawn together."""

    defense = "u2u"
    search: ClassVar[Mapping[str, Any]] = {
        "u2u_regularization": {"low": 1e-8, "high": 1e-2, "log": True},
        "unlearn_max_steps": {"low": 20, "high": 1000, "log": True},
    }
    keys: ClassVar[Mapping[str, Key]] = _keys_after("u2u")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _presets("u2u")


class D2DUnlearner(_PairsAfter):
    """D2D-R (Making Users Indistinguishable, 2023): distributions of classes are drawn together."""

    defense = "d2d"
    search: ClassVar[Mapping[str, Any]] = {
        "d2d_regularization": {"low": 1e-8, "high": 1e-2, "log": True},
        "unlearn_max_steps": {"low": 20, "high": 1000, "log": True},
    }
    keys: ClassVar[Mapping[str, Key]] = _keys_after("d2d")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _presets("d2d")


class PairTerm:
    """The pair loss of one attribute in training; every labelled user counts alike, however many interactions."""

    def __init__(self, trainer: _PairsIn, attribute: str) -> None:
        labels = trainer.labels.column(attribute)
        self.name = f"{trainer.defense} {attribute}"
        self.trainer, self.labels = trainer, labels.to(trainer.device)
        self.known = (labels >= 0).nonzero().squeeze(1)
        self.weight = float(trainer.config[f"{trainer.defense}_weight"])
        self.generator = torch.Generator().manual_seed(int(trainer.config["seed"]))

    def start_epoch(self, epoch: int) -> None:
        """Nothing is prepared."""

    def state(self) -> dict[str, Any]:
        """See :meth:`LossTerm.state`."""
        return {"generator": self.generator.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`LossTerm.load_state`."""
        self.generator.set_state(state["generator"])

    def __call__(self) -> Tensor:
        """The weighted loss of this step's users; zero if they are all of one class."""
        users = self.known
        if len(users) > _STEP_USERS:
            users = users[torch.randperm(len(users), generator=self.generator)[:_STEP_USERS]]
        users = users.to(self.labels.device)
        embeddings, labels = self.trainer.view.served(users), self.labels[users]
        if len(labels.unique()) < 2:
            return 0.0 * embeddings.sum()
        return self.weight * _IN[self.trainer.defense](embeddings, labels)


class _PairsIn(DefenseTrainer):
    def phases(self) -> list[Phase]:
        """One phase for the whole training, with the pair loss of each attribute."""
        return [Phase(self.config["epochs"], tuple(PairTerm(self, name) for name in self.labels.names))]


class U2UTrainer(_PairsIn):
    """U2U in training: the recommendation loss takes the place of the regularizer."""

    defense = "u2u"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"u2u_weight": {"low": 0.01, "high": 100, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = _keys_in("u2u")


class D2DTrainer(_PairsIn):
    """D2D in training: the recommendation loss takes the place of the regularizer."""

    defense = "d2d"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"d2d_weight": {"low": 0.01, "high": 100, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = _keys_in("d2d")
