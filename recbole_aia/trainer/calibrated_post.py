"""Calibrated alignment after training: moves the users of a trained model until classes look like random groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key
from recbole_aia.losses import Alignment, Discrepancy, MixedDiscrepancy, Posterior, UserMap, learn_map, steps_for
from recbole_aia.trainer.calibrated import ALIGNMENT_KEYS, exact_users, move
from recbole_aia.trainer.chance import checked_discrepancy, discrepancy_settings, warn_if_farther
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.post_keys import descent_keys
from recbole_aia.trainer.posteriors import OWN_LABELS, learn_posteriors, reliability
from recbole_aia.trainer.retention import Recommendation
from recbole_aia.trainer.targets import Target, make_target, only_moving
from recbole_aia.unlearning.requests import UnlearningTask

# Factors on the steps of a tower, which needs more because all users share its weights; with own labels, and without.
# Without, five times as many hide no more (DMF on ml-100k) and keep 0.48 of NDCG@10 in place of 0.92.
_OWN_TOWER_STEPS, _TOWER_STEPS = 5, 2
_CHANCE = 1.0  # a tower is aligned once no re-estimated statistic exceeds this, random groups' standard deviation


class CalibratedUnlearner(Unlearner):
    """Calibrated alignment (ours): users become what they would be if vectors said nothing of classes.

    Aligns users of a trained model, without interactions (``data_free``) or with them (``data_dependent``). With
    interactions, users learn for an epoch between two alignments, and no other part of the model does.

    One map of vectors is learned from all users (:func:`~recbole_aia.losses.learn_map`), and it moves those who ask,
    with a label or without. That a vector has changed shows that its user has asked. How it has changed shows little
    more of the label than the old vector did, the less the more users there are. With ``calibrated_labels: own`` it
    shows the label.

    If all users ask, DMF's tower moves by default. Vectors moved one by one would leave a leak: many units of that
    tower are zero for a user, and which units are zero depends on the class. MultiVAE's latent means have no zeros, and
    are released.

    Attributes:
        map: the map of the last unlearning, for users who come later; ``None`` before, for towers, and for own labels.
    """

    map: UserMap | None = None
    defense = "calibrated"
    search: ClassVar[Mapping[str, Any]] = {"calibrated_steps": {"low": 5, "high": 200, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        **ALIGNMENT_KEYS,
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

    @property
    def by_label(self) -> bool:
        """See :attr:`Unlearner.by_label`; the key ``calibrated_labels`` decides."""
        return bool(self.config["calibrated_labels"] == "own")

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """See :meth:`Unlearner.can_hide`: some class needs two users who ask, and two users outside the class."""
        outside = (asked + others).sum() - asked
        return bool(((asked > 1) & (outside > 1)).any())

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`: data-dependent with ``train_data``, data-free without."""
        target, mode = self.target(task), "data_free"
        if self.by_label:
            self.logger.warning(OWN_LABELS)
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
        details = {"mode": mode, "steps": outcome.steps, "statistics": [outcome.before, outcome.after]}
        return details if self.by_label else {**details, "learned_from": self._reliability}

    def _alignment(self, target: Target, task: UnlearningTask) -> Callable[[], Alignment]:
        """A function that aligns the target.

        A tower is aligned in rounds, and each round estimates the statistics anew. It stops when the statistics are at
        chance at the start of a round, or when the steps run out.
        """
        steps = steps_for(target.initial.shape[1], self.config["calibrated_steps"])
        if not self._moves_tower(task):
            if not self.by_label:
                return lambda: self._mapped(target, task, steps)
            discrepancy = self._discrepancy(target.initial, task)
            return lambda: move(target, discrepancy, steps)

        steps *= _OWN_TOWER_STEPS if self.by_label else _TOWER_STEPS

        def rounds() -> Alignment:
            left, outcomes = steps, list[Alignment]()
            while left and (not outcomes or (outcomes[-1].before > _CHANCE and outcomes[-1].steps)):
                anew = self._discrepancy(target.embeddings().detach(), task)
                outcomes.append(move(target, anew, left))
                left -= outcomes[-1].steps
            return Alignment(outcomes[0].before, outcomes[-1].after, steps - left)

        return rounds

    def _mapped(self, target: Target, task: UnlearningTask, steps: int) -> Alignment:
        """Moves those who ask by the map of all users; who asks to hide other attributes has a map of their own."""
        target.finish()
        with torch.no_grad():
            everyone = self.view.served()
        labels, rows, moved = self._labels(task), task.users - 1, target.embeddings().detach().clone()
        posteriors = self._posteriors(everyone, labels, task)
        seed, exact, outcomes = self.config["seed"], exact_users(self.config), list[Alignment]()
        for chosen in task.asked.unique(dim=0):
            columns = chosen.nonzero().squeeze(1).tolist()
            if columns:
                hidden = [posteriors[a] for a in columns]
                all_moved, outcome, self.map = learn_map(
                    everyone,
                    hidden,
                    labels[:, columns],
                    steps,
                    activity=task.activity(),
                    seed=seed,
                    exact_users=exact,
                )
                who = (task.asked == chosen).all(1)
                moved[who] = all_moved[rows[who]]
                outcomes.append(outcome)
        target.place(moved)
        target.finish()
        return max(outcomes, key=lambda outcome: outcome.after)

    def _labels(self, task: UnlearningTask) -> Tensor:
        """All labels that are known, of all users of the model, ``[n, A]``; -1 for none."""
        labels = task.labels.new_full((len(self.view.users), len(task.names)), -1)
        labels[task.users - 1], labels[task.others - 1] = task.known, task.other_labels
        return labels

    def _posteriors(self, everyone: Tensor, labels: Tensor, task: UnlearningTask) -> list[Posterior]:
        found = learn_posteriors(everyone, labels, task.names, self.config["seed"])
        self._reliability = reliability(found, labels, task.names)
        return found

    def _discrepancy(self, embeddings: Tensor, task: UnlearningTask) -> Discrepancy | MixedDiscrepancy:
        if not self.by_label:
            # Only a tower comes here, whose users all ask.
            labels, seed = self._labels(task), self.config["seed"]
            said = [each.readout(embeddings) for each in self._posteriors(embeddings, labels, task)]
            exact = exact_users(self.config)
            return MixedDiscrepancy(embeddings, labels, said, activity=task.activity(), seed=seed, exact_users=exact)
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
        """See :meth:`Unlearner.target`; by default the tower, if it gives zeros (DMF's) and all users ask."""
        return make_target(self.view, task.users, "tower" if self._moves_tower(task) else self.config["target"])

    def _moves_tower(self, task: UnlearningTask) -> bool:
        everybody = len(task.users) == len(self.view.users)
        free = self.config["target"] is None and self.view.released is None and everybody
        by_default, own = free and self.view.zeros, self.config["target"] == "own"
        return self.config["target"] == "tower" or (bool(self.view.tower()) and (by_default or own))

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
