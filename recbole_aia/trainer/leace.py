"""LEACE: takes out of the users of a trained model whatever a linear attacker could use, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import least_squares_erasure, oracle_erasure
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.targets import make_target, target_name
from recbole_aia.unlearning.requests import UnlearningTask


class LEACEUnlearner(Unlearner):
    """LEACE (Belrose et al. 2023): class means become equal by the smallest linear change; no linear attacker is left.

    The map is fitted on all users with a label and moves those who ask, with a label or without. It uses no
    interactions. If all users ask, no linear function of the vectors that were fitted predicts a class better than a
    constant. Two things are not promised: nonlinear attackers stay, and users on whom the map was not fitted keep a
    part of their means. An attacker who learns from some of the fitted users reads the others in reverse, because means
    that agree over all users disagree over any part.
    """

    defense = "leace"
    search: ClassVar[Mapping[str, Any]] = {"leace_covariances": {"low": 0, "high": 16}}
    keys: ClassVar[Mapping[str, Key]] = {
        "leace_labels": Choice(
            "none",
            "none: one map of vectors moves all users. own: a user moves by the user's own labels (oracle LEACE), and "
            "whoever has the old vectors too reads them.",
            choices=("none", "own"),
        ),
        "leace_covariances": Count(
            0,
            "Directions taken out besides the means: those along which classes differ most in covariance. 0 is LEACE.",
        ),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"leace_labels": "none", "leace_covariances": 0}}

    @property
    def by_label(self) -> bool:
        """See :attr:`Unlearner.by_label`; the key ``leace_labels`` decides."""
        return bool(self.config["leace_labels"] == "own")

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`; uses no interactions."""
        name = target_name(self.view, self.config["target"])
        if name == "tower":
            raise ConfigValueError("leace sets vectors, and a tower has none. Write --target=released.")
        target = make_target(self.view, task.users, name)
        with torch.no_grad():
            everyone = self.view.served()
        labels = task.labels.new_full((len(everyone), len(task.names)), -1)
        labels[task.users - 1], labels[task.others - 1] = task.known, task.other_labels
        moved, rank = target.initial.clone(), 0
        # Who asks to hide other attributes has a map of their own.
        for chosen in task.asked.unique(dim=0):
            columns = chosen.nonzero().squeeze(1)
            if len(columns):
                who = (task.asked == chosen).all(1)
                erased, removed = self._erased(everyone, labels[:, columns])
                moved[who], rank = erased[task.users[who] - 1], max(rank, removed)
        target.place(moved)
        target.finish()
        return {"labels": self.config["leace_labels"], "rank": rank}

    def _erased(self, everyone: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        """All users ``[n, d]`` without these attributes ``[n, A]``, and the number of directions taken out."""
        try:
            if self.by_label:
                return oracle_erasure(everyone, labels), 0
            erasure = least_squares_erasure(everyone, labels, self.config["leace_covariances"])
        except ValueError as error:
            raise AttributeDataError(f"leace: {error}. Leave the attribute out.") from error
        return erasure(everyone), erasure.rank
