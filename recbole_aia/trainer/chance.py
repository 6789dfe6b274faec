"""The stop at chance, for defenses whose published form goes on below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from recbole_aia.config.keys import Flag
from recbole_aia.errors import AttributeDataError
from recbole_aia.losses import ClassDiscrepancy

_EVERY = 5  # steps between two looks, which cost more than a step


CALIBRATE = Flag(
    False,
    "Whether an attribute is left alone while its classes are at chance. False: as published, below chance too.",
)


class ChanceStop:
    """Which attributes still stand above chance; a defense leaves the others alone until they do again.

    An attribute stands above chance while the mean of its statistics, over kernels and columns, is above 0, about where
    it is under permuted labels. A defense that knows no such end takes classes closer together than random groups are:
    answers then come out reversed, which can be read too.

    Args:
        embeddings: gives the vectors ``[n, d]`` of the users as they are now.
        labels: theirs, ``[n, A]``; negative where there is nothing.
        others: further arguments of :class:`~recbole_aia.losses.ClassDiscrepancy`.

    Raises:
        AttributeDataError: no class can be told from a rest.
    """

    def __init__(self, embeddings: Callable[[], Tensor], labels: Tensor, **others: Any) -> None:
        try:
            # By random features, a third of the time that pairs of 1,000 users take.
            self._discrepancy = ClassDiscrepancy(embeddings().detach(), labels, exact_users=0, **others)
        except ValueError as error:
            raise AttributeDataError(f"where chance is cannot be told: {error}. Write --calibrate=False.") from error
        owners = torch.tensor([attribute for attribute, _ in self._discrepancy.classes])
        self._columns = [(owners == attribute).nonzero().squeeze(1) for attribute in range(labels.shape[1])]
        self._embeddings, self._step = embeddings, 0
        self._first = self.means()

    def above(self) -> Tensor:
        """Which attributes stand above chance, ``[A]``; called once a step, it looks at every fifth."""
        if self._step % _EVERY == 0:
            # An attribute without a class to be judged has no mean, and is defended as published.
            self._above = ~(self.means() <= 0)
        self._step += 1
        return self._above

    def means(self) -> Tensor:
        """The mean statistic of each attribute now, ``[A]``."""
        # Not under no_grad: the embeddings may be part of a forward that the step's loss shares.
        embeddings = self._embeddings().detach()
        scores = self._discrepancy(embeddings)
        return torch.stack([scores[:, columns].mean() for columns in self._columns])

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """The mean statistic of each attribute at the start and now, and whether all are at chance, as plain data."""
        pairs = zip(names, self._first.tolist(), (now := self.means()).tolist(), strict=True)
        found = {name: [before, after] for name, before, after in pairs if isfinite(before)}
        return {"stopped_at_chance": bool((now <= 0).all()), "discrepancy": found}


def statistics(embeddings: Tensor, labels: Tensor, names: Sequence[str], **others: Any) -> ClassDiscrepancy:
    """The statistics of users at ``embeddings [n, d]``, of which every attribute must have some.

    Args:
        embeddings: ``[n, d]``.
        labels: ``[n, A]``, negative where there is nothing.
        names: the attributes.
        others: further arguments of :class:`~recbole_aia.losses.ClassDiscrepancy`.

    Raises:
        AttributeDataError: no class of an attribute has two members and two users outside it.
    """
    try:
        discrepancy = ClassDiscrepancy(embeddings, labels, **others)
    except ValueError as error:
        raise AttributeDataError(f"nothing can be aligned: {error}. Give more users.") from error
    judged = {attribute for attribute, _ in discrepancy.classes}
    for attribute in sorted(set(range(len(names))) - judged):
        raise AttributeDataError(
            f"no class of '{names[attribute]}' has two members and two users outside it: nothing can be aligned. "
            "Give more users, or leave it out."
        )
    return discrepancy


def discrepancy_settings(config: Any) -> dict[str, Any]:
    """Settings of :class:`ClassDiscrepancy`."""
    return {"seed": int(config["seed"]), "exact_users": int(config["calibrated_exact_users"])}
