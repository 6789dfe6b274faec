"""The statistics that measure the distance from chance, and a stop at chance for defenses that would go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from recbole_aia.config.keys import Flag
from recbole_aia.errors import AttributeDataError
from recbole_aia.losses import Alignment, ClassDiscrepancy

_EVERY = 5  # steps between two looks at the statistics; a look costs more than a step


CALIBRATE = Flag(
    False,
    "Whether the defense leaves an attribute alone while its classes are at chance. False: as published, it goes on.",
)


class ChanceStop:
    """Says which attributes are above chance, so that a defense leaves the other attributes alone.

    An attribute is above chance while the mean of its statistics, over kernels and classes, is above 0. Under permuted
    labels this mean is about 0. A defense without a stop brings classes closer together than random groups are.
    Attackers then answer in reverse, and reversed answers give the attribute away too.

    Args:
        embeddings: returns the users' present vectors, ``[n, d]``.
        labels: the users' labels, ``[n, A]``; negative for no label.
        start: the vectors at which the statistics are estimated, ``[n, d]``; the present ones by default.
        others: further arguments of :class:`~recbole_aia.losses.ClassDiscrepancy`.

    Raises:
        AttributeDataError: no class has two members and two users outside it.
    """

    def __init__(
        self, embeddings: Callable[[], Tensor], labels: Tensor, start: Tensor | None = None, **others: Any
    ) -> None:
        self._start = embeddings().detach() if start is None else start
        try:
            # exact_users=0 compares users by random features: a third of the time of all pairs of 1,000 users.
            self._discrepancy = ClassDiscrepancy(self._start, labels, exact_users=0, **others)
        except ValueError as error:
            raise AttributeDataError(f"no stop at chance is possible: {error}. Write --calibrate=False.") from error
        owners = torch.tensor([attribute for attribute, _ in self._discrepancy.classes])
        self._columns = [(owners == attribute).nonzero().squeeze(1) for attribute in range(labels.shape[1])]
        self._embeddings, self._step = embeddings, 0
        self._first = self.means()

    def above(self) -> Tensor:
        """Whether each attribute is above chance, ``[A]``. Call it once in a step; it looks at every fifth call."""
        if self._step % _EVERY == 0:
            # An attribute without statistics has the mean NaN. "not <= 0" makes it above chance, and so defended.
            self._above = ~(self.means() <= 0)
        self._step += 1
        return self._above

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` brings back, and ``start``, the argument to make an equal stop with."""
        return {"start": self._start, "step": self._step, "first": self._first, "above": getattr(self, "_above", None)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Brings back a :meth:`state`, of a stop with the same ``start``."""
        self._step, self._first = state["step"], state["first"].to(self._first)
        if state["above"] is not None:
            self._above = state["above"].to(self._first.device)

    def means(self) -> Tensor:
        """The mean statistic of each attribute now, ``[A]``."""
        # Not under no_grad: the step's loss may share this forward pass and needs its graph.
        embeddings = self._embeddings().detach()
        scores = self._discrepancy(embeddings)
        return torch.stack([scores[:, columns].mean() for columns in self._columns])

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """The mean statistic of each attribute at the start and now, and whether all are at chance, as plain data."""
        pairs = zip(names, self._first.tolist(), (now := self.means()).tolist(), strict=True)
        found = {name: [before, after] for name, before, after in pairs if isfinite(before)}
        return {"stopped_at_chance": bool((now <= 0).all()), "discrepancy": found}


def checked_discrepancy(embeddings: Tensor, labels: Tensor, names: Sequence[str], **others: Any) -> ClassDiscrepancy:
    """The statistics of users; every attribute must have some.

    Args:
        embeddings: the users' vectors, ``[n, d]``.
        labels: the users' labels, ``[n, A]``; negative for no label.
        names: the attributes, in column order.
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


def warn_if_farther(logger: logging.Logger, outcome: Alignment) -> None:
    """Warns of an alignment whose largest statistic ends above chance and above where it began; NaN is not judged."""
    if outcome.after > max(outcome.before, 1.0):
        logger.warning(
            f"calibrated: the alignment ended farther from chance than it began (largest statistic {outcome.before:.2f}"
            f" -> {outcome.after:.2f}). Raise calibrated_steps, or lower the learning_rate of the training."
        )


def discrepancy_settings(config: Any) -> dict[str, Any]:
    """The arguments of :class:`~recbole_aia.losses.ClassDiscrepancy` that a configuration sets."""
    return {"seed": int(config["seed"]), "exact_users": int(config["calibrated_exact_users"])}
