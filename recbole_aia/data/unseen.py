"""Hides the labels of some users from a defense, to measure what the defense does for users without a label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recbole_aia.data.attributes import LabelTable, load_labels
from recbole_aia.data.specs import MISSING
from recbole_aia.errors import ConfigValueError


def defense_labels(config: Any, dataset: Any) -> LabelTable:
    """The labels that a defense sees: those of :func:`load_labels`, without the users that ``holdout_users`` draws.

    Raises:
        AttributeDataError: the dataset's users have no usable labels.
        ConfigValueError: the share of ``holdout_users`` cannot be held out.
    """
    table = load_labels(config, dataset)
    unseen = unseen_users(table, config["holdout_users"], config["seed"])
    return replace(table, labels=table.labels.masked_fill(unseen.unsqueeze(1), MISSING))


def unseen_users(table: LabelTable, share: float | None, seed: int) -> Tensor:
    """Draws the users whose labels are held out: the same share of each class of the first attribute.

    Users without a label of the first attribute form one more class. Of them, only users with another label count.

    Args:
        table: labels of all users.
        share: in (0, 1); rounded to whole users in each class, and each class keeps at least one user. ``None`` holds
            nobody out.
        seed: the run's seed.

    Returns:
        ``[n_users]``, boolean; False for the padding user and for users without any label.

    Raises:
        ConfigValueError: the share is too small to hold anybody out, or leaves an attribute without two classes.
    """
    unseen = torch.zeros(len(table.labels), dtype=torch.bool)
    if share is None:
        return unseen
    first, generator = table.labels[1:, 0], torch.Generator().manual_seed(seed)
    for code in first.unique().tolist():
        members = (first == code).nonzero().squeeze(1) + 1
        count = min(len(members) - 1, int(share * len(members) + 0.5))
        unseen[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    unseen &= (table.labels >= 0).any(1)
    if not unseen.any():
        raise ConfigValueError(f"holdout_users is {share}: none of the users are held out. Give a larger share.")
    for name in table.names:
        seen = table.column(name)[~unseen]
        if len(seen[seen >= 0].unique()) < 2:
            raise ConfigValueError(
                f"holdout_users is {share}, which leaves a defense fewer than two classes of '{name}'. "
                "Give a smaller share."
            )
    return unseen
