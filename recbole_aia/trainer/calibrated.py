"""Calibrated alignment: moves classes of users until they look like random groups of their sizes, and no further."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Count, Key
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import (
    FEW_USERS,
    Alignment,
    ClassDiscrepancy,
    Discrepancy,
    MixedDiscrepancy,
    Posterior,
    UserMap,
    align,
    align_vectors,
    learn_map,
    steps_for,
)
from recbole_aia.trainer.averaging import WeightAverage
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import checked_discrepancy, discrepancy_settings, warn_if_farther
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.posteriors import LABELS, OWN_LABELS, learn_posteriors, reliability
from recbole_aia.trainer.targets import GraphTarget, Target, VectorTarget, make_target
from recbole_aia.trainer.tower_pull import TowerPull

_LEAST_EPOCHS = 4  # least number of defended epochs by default, in a training of at least as many
_EPOCH_STEPS = 20  # alignment steps after each epoch but the last, for up to FEW_USERS users
_MANY_STEPS = 3  # alignment steps after each epoch but the last, for more users; the next alignment goes on
_AVERAGED = 2  # number of last epochs over whose steps weights are averaged

ALIGNMENT_KEYS: dict[str, Key] = {
    "calibrated_labels": LABELS,
    "calibrated_steps": Count(
        100,
        "Most steps of an alignment, which ends sooner at chance. Beyond 64 dimensions they grow in proportion. After "
        "training, a tower takes twice as many, with own labels five times. Between epochs there are 20, or 3 for more "
        "than 2,048 users.",
        low=1,
    ),
    "calibrated_exact_users": Count(
        10000,
        "Up to this many users are compared pair by pair, more by random features (faster, coarser). Between epochs, "
        "and with calibrated_labels: posterior, random features begin above 2,048 users.",
    ),
}


class CalibratedTrainer(DefenseTrainer):
    """Calibrated alignment (ours): users become what they would be if vectors said nothing of classes.

    The first epochs are undefended. Then two steps alternate: an epoch of recommendation, and an alignment of all
    users, with a label or without. The alignment moves users by a map of their vectors
    (:func:`~recbole_aia.losses.learn_map`). It stops when classes look like random groups of their sizes. If it went
    on, attackers would fall below chance, and their answers could be read backwards.

    A label reaches the users only through the few weights of the map, which all users share. So whoever has the old
    vectors too learns little more than the old vectors tell, the less the more users there are. With
    ``calibrated_labels: own`` users with a label move by their own label: recommendations keep more, and the difference
    of old and new vectors gives the label away.

    Weights swing between the two aims. After the last epoch they are set to their mean over the steps of the last two
    epochs (:class:`WeightAverage`), and users are aligned once more. A graph model's users move by its table. A tower
    has no parameters of single users; during training it is pulled instead (:class:`TowerPull`).

    Attributes:
        map: the map of the last alignment, for users who come later; ``None`` before, for towers, and for own labels.

    Source:
        Ours; :class:`~recbole_aia.losses.PosteriorDiscrepancy` explains why the alignment stops at chance.
    """

    map: UserMap | None = None
    defense = "calibrated"
    resumable = True
    parallel = True
    recordable = True
    search: ClassVar[Mapping[str, Any]] = {"calibrated_steps": {"low": 5, "high": 200, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrated_epochs": Count(
            None,
            "Number of last epochs after each of which users are aligned. Weights end at their mean over the last two. "
            "~: 1; with own labels, and for towers, a fifth of epochs, at least 4.",
            low=1,
        ),
        **ALIGNMENT_KEYS,
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
        defended = defended_epochs(self.config, bool(self.view.tower()))
        self.first_defended = self.total - defended
        if self.by_label:
            self.logger.warning(OWN_LABELS)
            self.discrepancy(self.view.served(self.labeled_users()[0]).detach(), last=False)
        else:
            self.posteriors(self.view.served().detach())
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

    def state(self) -> dict[str, Any]:
        """See :meth:`DefenseTrainer.state`."""
        parts = {"average": self.average, "pull": self.pull}
        return {name: None if part is None else part.state() for name, part in parts.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`DefenseTrainer.load_state`."""
        if state["average"] is not None:
            self.average = WeightAverage(self.model)
            self.average.load_state(state["average"])
        if state["pull"] is not None:
            self.pull = TowerPull(self, self.epoch_steps)
            self.pull.load_state(state["pull"])

    @property
    def by_label(self) -> bool:
        """Whether users move by their own labels."""
        return bool(self.config["calibrated_labels"] == "own")

    def align_users(self, last: bool) -> None:
        """Aligns users, with few steps between epochs and with all steps if this is the ``last`` time."""
        self.model.eval()
        users = self.labeled_users()[0] if self.by_label else self.view.users
        target = make_target(self.view, users, "table")
        steps = steps_for(target.initial.shape[1], self.config["calibrated_steps"])
        few = len(target.users) <= FEW_USERS
        if not last:
            steps = min(steps, _EPOCH_STEPS if few else _MANY_STEPS)
        judged = last or few  # for many users the statistics at the end cost much, and the next alignment shows them
        outcome = None
        if target.initial.isfinite().all():
            outcome = self._aligned(target, steps, last, judged)
        if outcome is None or (judged and not isfinite(outcome.after)):
            raise ConfigValueError("calibrated: the users are no longer finite. Lower the learning_rate.")
        after = f" -> {outcome.after:.2f}" if judged else ""
        self.logger.info(f"calibrated: largest statistic {outcome.before:.1f}{after}, {outcome.steps} steps")
        warn_if_farther(self.logger, outcome)

    def _aligned(self, target: Target, steps: int, last: bool, judged: bool) -> Alignment:
        if self.by_label:
            return move(target, self.discrepancy(target.initial, last), steps, judged)
        posteriors = self.posteriors(target.initial)
        labels = self.labels.labels[1:].to(self.device)
        counts = self.labels.activity()
        outcome, self.map = move_by_posterior(target, posteriors, labels, counts, steps, self.config)
        if last:
            found = reliability(posteriors, labels, self.labels.names)
            said = (f"{name} {each['explained']:.0%} of {each['labelled']:,} labels" for name, each in found.items())
            self.logger.info(f"calibrated: vectors explained {', '.join(said)}")
        return outcome

    def posteriors(self, embeddings: Tensor) -> list[Posterior]:
        """The posteriors of all users at ``embeddings [n_users - 1, d]``."""
        labels = self.labels.labels[1:].to(embeddings.device)
        return learn_posteriors(embeddings, labels, self.labels.names, self.config["seed"])

    def discrepancy(self, embeddings: Tensor, last: bool) -> ClassDiscrepancy:
        """The statistics of the labelled users at ``embeddings [n, d]``; finer if this is the ``last`` alignment."""
        settings = discrepancy_settings(self.config)
        if not last:
            # Comparing many users pair by pair after each epoch would double its time.
            settings["exact_users"] = min(settings["exact_users"], FEW_USERS)
        return checked_discrepancy(embeddings, self.labeled_users()[1], self.labels.names, **settings)

    def before_step(self) -> None:
        """See :meth:`DefenseTrainer.before_step`: weights are averaged, and steps between two pulls counted."""
        if self.average is not None:
            self.average.add()
        if self.pull is not None:
            self.pull.step += 1

    def step_kind(self) -> Hashable | None:
        """See :meth:`DefenseTrainer.step_kind`; a step in which a tower is pulled cannot be recorded."""
        pulled = self.pull is not None
        return None if (self.pull is not None and self.pull.due) or super().step_kind() is None else pulled

    def step_losses(self, interaction: Any, draws: Sequence[Any] | None = None) -> Tensor | tuple[Tensor, ...]:
        """See :meth:`DefenseTrainer.step_losses`; a tower is pulled besides."""
        loss = super().step_losses(interaction, draws)
        return loss if self.pull is None else (loss, self.pull(loss))  # type: ignore[return-value, arg-type]

    def _loss_names(self) -> list[str]:
        return ["rec", "calibrated"]


def exact_users(config: Any) -> int:
    """Up to how many users pairs are compared one by one where posteriors stand in the place of labels."""
    return min(int(config["calibrated_exact_users"]), FEW_USERS)


def move_by_posterior(
    target: Target,
    posteriors: Sequence[Posterior],
    labels: Tensor,
    activity: Tensor | None,
    steps: int,
    config: Any,
) -> tuple[Alignment, UserMap | None]:
    """Aligns a target of all users, of whom nobody's own label is used, and writes it into the model.

    Args:
        target: what moves.
        posteriors: of the target's users, by attribute.
        labels: of the target's users, ``[n, A]``; negative where not known.
        activity: number of interactions of the target's users, ``[n]``; ``None`` where not known.
        steps: most steps of the alignment.
        config: with the seed, and up to how many users are compared pair by pair.

    Returns:
        How it went, and the map; ``None`` where the target computes its users and cannot be set.
    """
    seed, exact = int(config["seed"]), exact_users(config)
    here = target.embeddings().detach()
    if isinstance(target, (VectorTarget, GraphTarget)):
        moved, outcome, learned = learn_map(
            here, posteriors, labels, steps, activity=activity, seed=seed, exact_users=exact
        )
        target.place(moved)
        target.finish()
        return outcome, learned
    said = [each.readout(here) for each in posteriors]
    discrepancy = MixedDiscrepancy(here, labels, said, activity=activity, seed=seed, exact_users=exact)
    return move(target, discrepancy, steps), None


def move(target: Target, discrepancy: Discrepancy | MixedDiscrepancy, steps: int, judged: bool = True) -> Alignment:
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


def defended_epochs(config: Any, tower: bool = False) -> int:
    """The number of last epochs that are defended: ``calibrated_epochs``, or a fifth of all but at least four.

    One map at the end protects as well as one after each epoch, and costs recommendations less. So without own labels
    the default is one, but for towers, which are pulled step by step.

    Args:
        config: the configuration.
        tower: whether the model computes its users.

    Raises:
        ConfigValueError: ``calibrated_epochs`` is larger than ``epochs``.
    """
    total, asked = config["epochs"], config["calibrated_epochs"]
    if asked is None:
        by_map = config["calibrated_labels"] == "posterior" and not tower
        return 1 if by_map else min(total, max(_LEAST_EPOCHS, total // 5))
    if asked > total:
        raise ConfigValueError(f"calibrated_epochs is {asked}, more than epochs, {total}. Raise epochs or lower it.")
    return int(asked)
