"""Requests of users to a defense after training, and the task that a defense gets from them."""

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
    """A request: the attributes to hide, the internal ids of the users who ask (``None``: all), and its ISO time."""

    attributes: Sequence[str]
    users: Tensor | None = None
    when: str | None = None


@dataclass(frozen=True)
class UnlearningTask:
    """The users and labels that a defense has to hide.

    Attributes:
        users: ids of the users who ask, and who therefore move, ``[n]``.
        labels: the labels to hide, ``[n, A]``; -1 if a user has no label or did not ask to hide the attribute.
        known: all labels of ``users``, also those that nobody asked to hide, ``[n, A]``; -1 for no label. A user who
            asks for one attribute still counts in the classes of the other attributes.
        others: ids of all other users, who stay, ``[m]``.
        other_labels: labels of ``others``, ``[m, A]``; -1 for no label.
        names: the attributes, in column order.
        classes: class names by attribute.
        asked: which attributes each of ``users`` asked to hide, with a label or without, ``[n, A]``.
        activity: see :meth:`.LabelTable.activity`.
    """

    users: Tensor
    labels: Tensor
    known: Tensor
    others: Tensor
    other_labels: Tensor
    names: tuple[str, ...]
    classes: dict[str, list[str]]
    asked: Tensor
    activity: Callable[[], Tensor | None]


def make_task(
    requests: Sequence[Request],
    history: Sequence[Mapping[str, Any]],
    labels: LabelTable,
    device: Any,
    can_hide: Callable[[Tensor, Tensor], bool],
    by_label: bool = True,
) -> UnlearningTask:
    """The task for all users who ask now: it hides what they ask for now and what they asked for earlier.

    Args:
        requests: the requests made now.
        history: records of earlier unlearning, see :attr:`Unlearner.history`.
        labels: the labels of all users.
        device: the device of the task's tensors.
        can_hide: see :meth:`Unlearner.can_hide`.
        by_label: see :attr:`Unlearner.by_label`.

    Raises:
        AttributeDataError: an attribute is asked for, and no user who asks has a label of it.
        ConfigValueError: no user asks, or an id is no user's.
    """
    everyone = torch.arange(1, len(labels.labels))
    asked = torch.cat([everyone if request.users is None else request.users for request in requests]).unique()
    if not len(asked) or asked[0] < 1 or asked[-1] > len(everyone):
        raise ConfigValueError(f"users must be ids from 1 to {len(everyone)}, and at least one of them.")
    hidden, wishes = torch.full_like(labels.labels, -1), torch.zeros_like(labels.labels, dtype=torch.bool)
    for request in [*requests, *map(_request, history)]:
        who = everyone if request.users is None else request.users
        for name in set(request.attributes) & set(labels.names):
            hidden[who, labels.names.index(name)] = labels.column(name)[who]
            wishes[who, labels.names.index(name)] = True
    others = everyone[~torch.isin(everyone, asked)]
    wanted = {name for request in requests for name in request.attributes}

    def serves(column: int, name: str) -> bool:
        """Whether the task includes an attribute.

        An attribute of earlier requests is left out if it cannot be hidden now. New requests are served without it.
        """
        if not by_label:
            return bool(wishes[asked, column].any())
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
            f"{', '.join(left)}, hidden earlier, may come back for the users who ask now: they are too few, or all of "
            "one class, to hide it again."
        )
    return UnlearningTask(
        users=asked.to(device),
        labels=hidden[asked][:, kept].to(device),
        known=labels.labels[asked][:, kept].to(device),
        others=others.to(device),
        other_labels=labels.labels[others][:, kept].to(device),
        names=names,
        classes={name: labels.classes[name] for name in names},
        asked=wishes[asked][:, kept].to(device),
        activity=labels.activity,
    )


def who_asked(history: Sequence[Mapping[str, Any]], name: str, n_users: int) -> Tensor:
    """Whether each user has asked to hide an attribute, ``[n_users - 1]``; ``n_users`` counts the padding user."""
    asked = torch.zeros(n_users, dtype=torch.bool)
    for users in (record["users"] for record in history if name in record["attributes"]):
        asked[slice(None) if users is None else users] = True
    return asked[1:]


def specifications(wanted: Any, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attributes that are wanted now or were hidden earlier, with their specifications.

    Args:
        wanted: the value of the key ``attributes``.
        history: records of earlier unlearning, see :attr:`Unlearner.history`.

    Raises:
        ConfigValueError: a name has another specification now than earlier.
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
