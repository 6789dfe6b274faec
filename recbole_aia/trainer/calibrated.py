"""Calibrated alignment: moves classes of users until they look like random groups of their sizes, and no further."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import FEW_USERS, Alignment, ClassDiscrepancy, align, align_vectors, steps_for
from recbole_aia.trainer.averaging import WeightAverage
from recbole_aia.trainer.base import DefenseTrainer, Phase
from recbole_aia.trainer.chance import checked_discrepancy, discrepancy_settings, warn_if_farther
from recbole_aia.trainer.post import Unlearner, descent_keys
from recbole_aia.trainer.retention import Recommendation
from recbole_aia.trainer.targets import GraphTarget, Target, VectorTarget, make_target, only_moving
from recbole_aia.trainer.tower_pull import TowerPull
from recbole_aia.unlearning.requests import UnlearningTask

_LEAST_EPOCHS = 4  # least number of defended epochs by default, in a training of at least as many
_EPOCH_STEPS = 20  # alignment steps after each epoch but the last, for up to FEW_USERS users
_MANY_STEPS = 3  # alignment steps after each epoch but the last, for more users; the next alignment goes on
_AVERAGED = 2  # number of last epochs over whose steps weights are averaged
_TOWER_STEPS = 5  # factor on the steps of a tower, which needs more because all users share its weights
_CHANCE = 1.0  # a tower is aligned once no re-estimated statistic exceeds this, random groups' standard deviation


_ALIGNMENT_KEYS: dict[str, Key] = {
    "calibrated_steps": Count(
        100,
        "Most steps of an alignment, which ends sooner at chance. Beyond 64 dimensions they grow in proportion. After "
        "training, a tower takes five times as many. Between epochs there are 20, or 3 for more than 2,048 users.",
        low=1,
    ),
    "calibrated_exact_users": Count(
        10000,
        "Up to this many users are compared pair by pair, more by random features (faster, coarser). Between epochs "
        "random features begin above 2,048 users.",
    ),
}


class CalibratedTrainer(DefenseTrainer):
    """Calibrated alignment (ours): classes become like random groups of their sizes, at chance and not below it.

    The first epochs are undefended. Then two steps alternate: an epoch of recommendation, and an alignment of the
    users (:func:`~recbole_aia.losses.align`). The alignment stops when all classes look like random groups of their
    sizes. If it went on, attackers would fall below chance, and their answers could be read backwards. In the epochs
    between alignments, items and layers learn to recommend to aligned users.

    Attackers who see only the new vectors are at chance or close to it in our measurements (``docs/results.md``).
    Whoever also has the old vectors reads the labels. Users without a label are not protected.

    Weights swing between the two aims. After the last epoch they are set to their mean over the steps of the last two
    epochs (:class:`WeightAverage`), and users are aligned once more. A graph model's users move by its table. A tower
    has no parameters of single users; during training it is pulled instead (:class:`TowerPull`).

    Source:
        Ours; :class:`~recbole_aia.losses.ClassDiscrepancy` explains why the alignment stops at chance.
    """

    defense = "calibrated"
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrated_epochs": Count(
            None,
            "Number of last epochs after each of which users are aligned. Weights end at their mean over the last two. "
            "~: a fifth of epochs, at least 4.",
            low=1,
        ),
        **_ALIGNMENT_KEYS,
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`."""
        defended_epochs(config)

    def phases(self) -> list[Phase]:
        """The undefended epochs, then the epochs that end with an alignment."""
        if self.view.released is not None:
            raise ConfigValueError("the users of this model are released, and training moves none. Write --stage=post.")
        self.total: int = self.config["epochs"]
        self.pull: TowerPull | None = None
        self.average: WeightAverage | None = None
        defended = defended_epochs(self.config)
        self.first_defended = self.total - defended
        self.discrepancy(self.view.served(self.labeled_users()[0]).detach(), last=False)
        return [*([Phase(self.first_defended)] if self.first_defended else []), Phase(defended)]

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        defended = epoch_idx >= self.first_defended
        if defended and self.view.tower():
            self.pull = self.pull or TowerPull(self, len(train_data))
        elif epoch_idx >= max(self.first_defended, self.total - _AVERAGED):
            self.average = self.average or WeightAverage(self.model)
        losses = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        if defended and self.pull is None:
            last = epoch_idx + 1 == self.total
            if last and self.average is not None:
                self.average.place()
                self.average = None
                self.view.clear_caches()
            self.align_users(last)
        return losses

    def align_users(self, last: bool) -> None:
        """Aligns the labelled users, with few steps between epochs and with all steps if this is the ``last`` time."""
        self.model.eval()
        target = make_target(self.view, self.labeled_users()[0], "table")
        steps = steps_for(target.initial.shape[1], self.config["calibrated_steps"])
        few = len(target.users) <= FEW_USERS
        if not last:
            steps = min(steps, _EPOCH_STEPS if few else _MANY_STEPS)
        judged = last or few  # for many users the statistics at the end cost much, and the next alignment shows them
        finite = bool(target.initial.isfinite().all())
        outcome = move(target, self.discrepancy(target.initial, last), steps, judged) if finite else None
        if outcome is None or (judged and not isfinite(outcome.after)):
            raise ConfigValueError("calibrated: the users are no longer finite. Lower the learning_rate.")
        after = f" -> {outcome.after:.2f}" if judged else ""
        self.logger.info(f"calibrated: largest statistic {outcome.before:.1f}{after}, {outcome.steps} steps")
        warn_if_farther(self.logger, outcome)

    def discrepancy(self, embeddings: Tensor, last: bool) -> ClassDiscrepancy:
        """The statistics of the labelled users at ``embeddings [n, d]``; finer if this is the ``last`` alignment."""
        settings = discrepancy_settings(self.config)
        if not last:
            # Comparing many users pair by pair after each epoch would double its time.
            settings["exact_users"] = min(settings["exact_users"], FEW_USERS)
        return checked_discrepancy(embeddings, self.labeled_users()[1], self.labels.names, **settings)

    def step_losses(self, interaction: Any) -> Tensor | tuple[Tensor, ...]:
        """See :meth:`DefenseTrainer.step_losses`; a tower is pulled besides."""
        if self.average is not None:
            self.average.add()
        loss = super().step_losses(interaction)
        return loss if self.pull is None else (loss, self.pull(loss))  # type: ignore[return-value, arg-type]

    def _loss_names(self) -> list[str]:
        return ["rec", "calibrated"]


class CalibratedUnlearner(Unlearner):
    """Calibrated alignment (ours): classes become like random groups of their sizes, at chance and not below it.

    Aligns users of a trained model, without interactions (``data_free``) or with them (``data_dependent``). With
    interactions, users learn for an epoch between two alignments, and no other part of the model does.

    If all users ask, the tower moves by default. Vectors moved one by one would leave a leak: many units of a tower
    are zero for a user, and which units are zero depends on the class.
    """

    defense = "calibrated"
    keys: ClassVar[Mapping[str, Key]] = {
        **_ALIGNMENT_KEYS,
        "calibrated_mode": Choice(
            "data_free",
            "data_free, or data_dependent, where users learn from interactions between alignments.",
            choices=("data_free", "data_dependent"),
        ),
        "calibrated_post_epochs": Count(3, "Epochs of data_dependent.", low=1),
        "unlearn_learning_rate": descent_keys(rate=0.005, steps=1)["unlearn_learning_rate"],
    }

    @property
    def uses_interactions(self) -> bool:
        """See :attr:`Unlearner.uses_interactions`; the key ``calibrated_mode`` decides."""
        return bool(self.config["calibrated_mode"] == "data_dependent")

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """See :meth:`Unlearner.can_hide`: some class needs two users who ask, and two users outside the class."""
        outside = (asked + others).sum() - asked
        return bool(((asked > 1) & (outside > 1)).any())

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`: data-dependent with ``train_data``, data-free without."""
        target, mode = self.target(task), "data_free"
        align = self._alignment(target, task)
        with only_moving(self.model, target):
            outcome = align()
            if train_data is not None:
                mode = "data_dependent"
                for _ in range(self.config["calibrated_post_epochs"]):
                    self._recommend(target, train_data)
                    outcome = Alignment(outcome.before, *align()[1:])
        self._check_finite(target.embeddings().detach().sum())
        warn_if_farther(self.logger, outcome)
        return {"mode": mode, "steps": outcome.steps, "statistics": [outcome.before, outcome.after]}

    def _alignment(self, target: Target, task: UnlearningTask) -> Callable[[], Alignment]:
        """A function that aligns the target.

        A tower is aligned in rounds, and each round estimates the statistics anew. It stops when the statistics are at
        chance at the start of a round, or when the steps run out.
        """
        steps = steps_for(target.initial.shape[1], self.config["calibrated_steps"])
        if not self._moves_tower(task):
            discrepancy = self._discrepancy(target.initial, task)
            return lambda: move(target, discrepancy, steps)

        def rounds() -> Alignment:
            left, outcomes = _TOWER_STEPS * steps, list[Alignment]()
            while left and (not outcomes or (outcomes[-1].before > _CHANCE and outcomes[-1].steps)):
                anew = self._discrepancy(target.embeddings().detach(), task)
                outcomes.append(move(target, anew, left))
                left -= outcomes[-1].steps
            return Alignment(outcomes[0].before, outcomes[-1].after, _TOWER_STEPS * steps - left)

        return rounds

    def _discrepancy(self, embeddings: Tensor, task: UnlearningTask) -> ClassDiscrepancy:
        with torch.no_grad():
            others = self.view.served(task.others)
        return checked_discrepancy(
            embeddings,
            task.labels,
            task.names,
            others=others,
            other_labels=task.other_labels,
            known=task.known,
            **discrepancy_settings(self.config),
        )

    def target(self, task: UnlearningTask) -> Target:
        """See :meth:`Unlearner.target`; by default the tower, if the model has one and all users ask."""
        return make_target(self.view, task.users, "tower" if self._moves_tower(task) else self.config["target"])

    def _moves_tower(self, task: UnlearningTask) -> bool:
        everybody = len(task.users) == len(self.view.users)
        free = self.config["target"] is None and self.view.released is None and everybody
        return self.config["target"] == "tower" or (free and bool(self.view.tower()))

    def _recommend(self, target: Target, train_data: Any) -> None:
        """Trains an epoch of recommendation in which only the target moves."""
        groups = zip(target.parameters, target.scales(), strict=True)
        rate = self.config["unlearn_learning_rate"]
        optimizer = torch.optim.Adam({"params": [parameter], "lr": rate * scale} for parameter, scale in groups)
        retention = Recommendation(self, target, train_data)
        for _ in range(len(train_data)):
            for parameter, slope in zip(target.parameters, retention.gradient(target.initial), strict=True):
                parameter.grad = slope
            optimizer.step()
        for parameter in target.parameters:
            parameter.grad = None


def move(target: Target, discrepancy: ClassDiscrepancy, steps: int, judged: bool = True) -> Alignment:
    """Aligns the parameters of a target and writes them into the model.

    Args:
        target: what moves.
        discrepancy: the statistics of the target's users.
        steps: most steps of the alignment.
        judged: see :func:`~recbole_aia.losses.align`.
    """
    # RecBole's fit leaves torch's anomaly detection on, which records a stack trace of every operation.
    with torch.autograd.set_detect_anomaly(False):
        if isinstance(target, (VectorTarget, GraphTarget)):
            embeddings, outcome = align_vectors(target.embeddings(), discrepancy, steps, judged=judged)
            target.place(embeddings)
            if judged and isinstance(target, GraphTarget):
                outcome = outcome._replace(after=float(discrepancy(target.embeddings().detach()).abs().max()))
        else:
            outcome = align(target, discrepancy, steps)
    target.finish()
    return outcome


def defended_epochs(config: Any) -> int:
    """The number of last epochs that are defended: ``calibrated_epochs``, or a fifth of all but at least four.

    Raises:
        ConfigValueError: ``calibrated_epochs`` is larger than ``epochs``.
    """
    total, asked = config["epochs"], config["calibrated_epochs"]
    if asked is None:
        return min(total, max(_LEAST_EPOCHS, total // 5))  # type: ignore[no-any-return]
    if asked > total:
        raise ConfigValueError(f"calibrated_epochs is {asked}, more than epochs, {total}. Raise epochs or lower it.")
    return int(asked)
