"""What users ask of a defense after training, and what it has to know of them to serve it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_aia.data import LabelTable
from recbole_aia.errors import AttributeDataError, ConfigValueError


class Request(NamedTuple):
    """What some users ask for: attributes, internal ids (``None``: everybody), and since when."""

    attributes: Sequence[str]
    users: Tensor | None = None
    when: str | None = None


@dataclass(frozen=True)
class UnlearningTask:
    """Whose users and which of their attributes a defense has to hide.

    Attributes:
        users: ids of those who move, ``[n]``.
        labels: what is to be hidden of them, ``[n, A]``; -1 where a user has no label, or did not ask for that
            attribute.
        known: their labels whether they asked or not, ``[n, A]``; -1 where a user has none. Whoever moves for one
            attribute still belongs to the population of the others.
        others: ids of those who stay, ``[m]``.
        other_labels: ``[m, A]``; -1 where there is no label.
        names: the attributes, in column order.
        classes: class names by attribute.
    """

    users: Tensor
    labels: Tensor
    known: Tensor
    others: Tensor
    other_labels: Tensor
    names: tuple[str, ...]
    classes: dict[str, list[str]]


def make_task(
    requests: Sequence[Request],
    history: Sequence[Mapping[str, Any]],
    labels: LabelTable,
    device: Any,
    can_hide: Callable[[Tensor, Tensor], bool],
) -> UnlearningTask:
    """Everybody who asks now, with what they ask for now and asked for before.

    Args:
        requests: of now.
        history: records of earlier unlearning, see :attr:`Unlearner.history`.
        labels: of all users.
        device: where the tensors of the task shall be.
        can_hide: whether a defense can hide an attribute, from how many users of each class ask and how many do not.

    Raises:
        AttributeDataError: nobody who asks has a label of an attribute.
        ConfigValueError: nobody asks, or somebody who does not exist.
    """
    everyone = torch.arange(1, len(labels.labels))
    asked = torch.cat([everyone if request.users is None else request.users for request in requests]).unique()
    if not len(asked) or asked[0] < 1 or asked[-1] > len(everyone):
        raise ConfigValueError(f"users must be ids from 1 to {len(everyone)}, and at least one of them.")
    hidden = torch.full_like(labels.labels, -1)
    for request in [*requests, *map(_request, history)]:
        who = everyone if request.users is None else request.users
        for name in set(request.attributes) & set(labels.names):
            hidden[who, labels.names.index(name)] = labels.column(name)[who]
    others = everyone[~torch.isin(everyone, asked)]
    wanted = {name for request in requests for name in request.attributes}

    def serves(column: int, name: str) -> bool:
        """An attribute that nobody wants now must not get in the way of those that somebody does."""
        own, n_classes = hidden[asked, column], len(labels.classes[name])
        rest = labels.labels[others, column]
        sizes = (each[each >= 0].bincount(minlength=n_classes) for each in (own, rest))
        return bool((own >= 0).any()) and (name in wanted or can_hide(*sizes))

    kept = [column for column, name in enumerate(labels.names) if serves(column, name)]
    names = tuple(labels.names[column] for column in kept)
    missing = [name for request in requests for name in request.attributes if name not in names]
    if missing:
        raise AttributeDataError(f"none of the {len(asked)} users has a label of '{missing[0]}'. Leave it out.")
    left = [
        name for column, name in enumerate(labels.names) if name not in names and (hidden[asked, column] >= 0).any()
    ]
    if left:
        getLogger().warning(
            f"{', '.join(left)}, hidden earlier, may come back for those who ask now: too few of them have a class in "
            "common, or all have. Nobody asks for it now."
        )
    return UnlearningTask(
        users=asked.to(device),
        labels=hidden[asked][:, kept].to(device),
        known=labels.labels[asked][:, kept].to(device),
        others=others.to(device),
        other_labels=labels.labels[others][:, kept].to(device),
        names=names,
        classes={name: labels.classes[name] for name in names},
    )


def who_asked(history: Sequence[Mapping[str, Any]], name: str, n_users: int) -> Tensor:
    """Who has asked for an attribute, ``[n_users - 1]``, without the padding user, which ``n_users`` counts."""
    asked = torch.zeros(n_users, dtype=torch.bool)
    for users in (record["users"] for record in history if name in record["attributes"]):
        asked[slice(None) if users is None else users] = True
    return asked[1:]


def specifications(wanted: Any, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attributes that are wanted now or were hidden earlier, with their specifications.

    Args:
        wanted: the key ``attributes``.
        history: records of earlier unlearning.

    Raises:
        ConfigValueError: a name means something else than it did.
    """
    merged: dict[str, Any] = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted or [])
    for record in history:
        for name in record["attributes"]:
            spec = record.get("specs", {}).get(name)
            if merged.setdefault(name, spec) != spec:
                raise ConfigValueError(
                    f"'{name}' was unlearnt earlier with another specification. Give it another name."
                )
    return merged


def _request(record: Mapping[str, Any]) -> Request:
    return Request(record["attributes"], None if record["users"] is None else torch.tensor(record["users"]))
