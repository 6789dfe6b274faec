"""Which items each user has, in 4 bytes an interaction; RecBole's samplers have a set of Python's for each user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Ids = NDArray[np.int64]


class SeenItems:
    """The items of each user, in place of RecBole's array of sets.

    Args:
        layers: of which each holds some of the items; phases share those of the phases before.
    """

    def __init__(self, layers: tuple[_Layer, ...] = ()) -> None:
        self._layers = layers

    def and_of(self, users: _Ids, items: _Ids, n_users: int, n_items: int) -> SeenItems:
        """These items and those of further interactions ``[m]``."""
        return SeenItems((*self._layers, _Layer(users, items, n_users, n_items)))

    def has(self, users: _Ids, items: _Ids) -> NDArray[np.bool_]:
        """Whether each user has the item beside, ``[k]``."""
        found = np.zeros(len(users), dtype=np.bool_)
        for layer in self._layers:
            found |= layer.has(users, items)
        return found

    def pairs(self) -> tuple[_Ids, _Ids]:
        """All users ``[m]`` and items ``[m]``; a pair may be repeated."""
        users = [np.repeat(np.arange(len(self)), layer.counts()) for layer in self._layers]
        return np.concatenate(users), np.concatenate([layer.items.astype(np.int64) for layer in self._layers])

    def full(self, n_items: int) -> NDArray[np.bool_]:
        """Whether each user has all of ``n_items`` items, ``[n_users]``."""
        found = sum((layer.counts() for layer in self._layers), np.zeros(len(self), dtype=np.int64)) >= n_items
        for user in np.flatnonzero(found).tolist():  # few: an item counts once
            found[user] = len(self._set(user)) >= n_items
        return found

    def __len__(self) -> int:
        return len(self._layers[0].starts) - 1

    def __iter__(self) -> Iterator[set[int]]:
        return map(self._set, range(len(self)))

    def __getitem__(self, users: Any) -> Any:
        """The set of a user's items, or a list of sets."""
        if users is None:  # RecBole's loader of evaluations asks before its first user
            return set()
        return list(map(self._set, users)) if isinstance(users, Iterable) else self._set(users)

    def _set(self, user: int) -> set[int]:
        return {item for layer in self._layers for item in layer.of(user).tolist()}


class _Layer:
    """Items ``[m]`` int32, sorted by user and by number, and where those of each user start, ``[n_users + 1]``."""

    def __init__(self, users: _Ids, items: _Ids, n_users: int, n_items: int) -> None:
        keys = users * n_items
        keys += items
        keys.sort()
        keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
        self.starts = np.searchsorted(keys, np.arange(n_users + 1) * n_items)
        keys %= n_items
        self.items = keys.astype(np.int32)

    def of(self, user: int) -> NDArray[np.int32]:
        items: NDArray[np.int32] = self.items[self.starts[user] : self.starts[user + 1]]
        return items

    def counts(self) -> _Ids:
        return np.diff(self.starts)

    def has(self, users: _Ids, items: _Ids) -> NDArray[np.bool_]:
        low, end = self.starts[users], self.starts[users + 1]
        high = end.copy()
        while (open_ := low < high).any():  # all are halved at once
            middle = (low + high) // 2
            less = open_ & (self.items[np.minimum(middle, len(self.items) - 1)] < items)
            low, high = np.where(less, middle + 1, low), np.where(open_ & ~less, middle, high)
        found: NDArray[np.bool_] = low < end
        found[found] = self.items[low[found]] == items[found]
        return found
