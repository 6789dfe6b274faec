"""Collects interactions: numbers ids, merges repeated pairs of user and item, and finds the k-core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ne
from typing import Literal

import numpy as np

#: How the values of a repeated pair of user and item become one: their sum, the last value by time, or that of the row
#: that came first.
Merge = Literal["sum", "last", "first"]
TIME = "timestamp"
_ENOUGH = 2**23  # at least this many interactions wait before they are merged; with fewer, sorting would be frequent


class Index(dict[str, int]):
    """Gives each token a number, from 0 in the order of first appearance."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number

    def numbers(self, tokens: Iterable[str], count: int) -> np.ndarray:
        """The numbers ``[count]`` of tokens, int32; a new token gets the next number."""
        return np.fromiter(map(self.__getitem__, tokens), np.int32, count)

    def numbers_of_runs(self, tokens: Sequence[str]) -> np.ndarray:
        """As :meth:`numbers`, faster if a token often equals the one before: comparing is cheaper than looking up."""
        new = np.fromiter(map(ne, tokens, tokens[1:]), bool, max(len(tokens) - 1, 0))
        heads = np.append(0, np.flatnonzero(new) + 1) if tokens else new
        found = self.numbers((tokens[k] for k in heads.tolist()), heads.size)
        return np.repeat(found, np.diff(heads, append=len(tokens)))


@dataclass(frozen=True)
class Interactions:
    """Pairs of users and items with values.

    Attributes:
        users: ``[n]`` int32.
        items: ``[n]`` int32.
        numbers: columns ``[n]`` float64.
    """

    users: np.ndarray
    items: np.ndarray
    numbers: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.users)

    def where(self, rows: np.ndarray | slice) -> Interactions:
        """The interactions that a mask, indices or a range select."""
        return Interactions(self.users[rows], self.items[rows], {k: v[rows] for k, v in self.numbers.items()})

    def of_users(self, mask: np.ndarray) -> Interactions:
        """The interactions of the users that a mask selects."""
        return self.where(mask[self.users])

    def core(self, least: int) -> Interactions:
        """The interactions of the k-core for k = ``least``."""
        return self.where(core(self, least))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of interactions of each user and of each item."""
        return np.bincount(self.users), np.bincount(self.items)

    @classmethod
    def joined(cls, parts: list[Interactions]) -> Interactions:
        """The parts one after another."""
        if len(parts) == 1:
            return parts[0]
        numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
        users, items = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items"))
        return cls(users, items, numbers)


class Collector:
    """Takes interactions part by part and keeps one for each pair of user and item.

    Args:
        merge: how the values of repeated pairs become one, by column. The last time is kept.

    Attributes:
        repeated: number of interactions that were merged into another one.
    """

    def __init__(self, merge: Mapping[str, Merge]) -> None:
        self._merge = merge
        self._parts: list[Interactions] = []
        self._merged = self._waiting = 0
        self.repeated = 0

    def add(self, part: Interactions) -> None:
        """Takes some interactions."""
        self._parts.append(part)
        self._waiting += len(part)
        # Merging waits until as many interactions wait as are merged already. Each is then sorted only a few times.
        if self._waiting > max(_ENOUGH, self._merged):
            self.all()

    def all(self) -> Interactions:
        """All interactions so far, in the order in which their pairs first appeared."""
        everything = Interactions.joined(self._parts)
        merged = merge_repeated(everything, self._merge)
        self.repeated += len(everything) - len(merged)
        self._parts, self._merged, self._waiting = [merged], len(merged), 0
        return merged


def merge_repeated(interactions: Interactions, merge: Mapping[str, Merge]) -> Interactions:
    """Merges interactions of the same pair of user and item; see :class:`Collector`."""
    users, items, numbers = interactions.users, interactions.items, interactions.numbers
    if not len(users):
        return interactions
    keys = users.astype(np.int64) * (int(items.max()) + 1) + items
    ordered = np.sort(keys)
    if (ordered[1:] != ordered[:-1]).all():
        return interactions
    del ordered
    order = np.lexsort((numbers[TIME], keys)) if TIME in numbers else np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    ends = np.append(starts[1:], keys.size) - 1
    first = np.minimum.reduceat(order, starts)
    merged = {name: column[order[ends]] for name, column in numbers.items()}
    for name, column in numbers.items():
        if merge.get(name) == "sum":
            merged[name] = np.add.reduceat(column[order], starts)
        elif merge.get(name) == "first":
            merged[name] = column[first]
    place = np.argsort(first)
    kept = first[place]
    return Interactions(users[kept], items[kept], {name: column[place] for name, column in merged.items()})


def core(interactions: Interactions, least: int) -> np.ndarray:
    """The k-core for k = ``least``, as a mask ``[n]``.

    The k-core is the largest set of interactions in which every user and every item has at least k. It is found by
    dropping users and items with fewer than k interactions until none is left.
    """
    kept = np.ones(len(interactions), bool)
    while kept.any():
        before = kept.sum()
        for codes in (interactions.users, interactions.items):
            kept &= (np.bincount(codes[kept], minlength=int(codes.max()) + 1) >= least)[codes]
        if kept.sum() == before:
            break
    return kept
