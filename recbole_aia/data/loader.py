"""RecBole's training loader with the same batches, number by number, without its loops in Python."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from torch import Tensor


class FastTrainDataLoader(TrainDataLoader):  # type: ignore[misc]
    """RecBole's ``TrainDataLoader``; random numbers are drawn in its order, so batches are equal bit by bit.

    Args:
        config: the run's configuration.
        dataset: the training split.
        sampler: RecBole's sampler of the training phase, or ``None`` where no negatives are drawn.
        shuffle: whether every epoch has an order of its own.
    """

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        # Other samplers (one that lets items repeat, one over entities) keep their own ways.
        sampler = VectorizedSampler(sampler) if type(sampler) is Sampler else sampler
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def __iter__(self) -> Iterator[Interaction]:
        """One epoch of batches."""
        if self.num_workers > 0:
            return super().__iter__()  # type: ignore[no-any-return]
        return self._batches()

    def _batches(self) -> Iterator[Interaction]:
        # torch draws a seed for workers before the order, even where there are no workers.
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        order = torch.from_numpy(np.fromiter(self.sampler, dtype=np.int64))
        for rows in order.split(self.step):
            yield self.collate_fn(rows)

    def collate_fn(self, index: Any) -> Interaction:
        """The interactions of some rows ``[n]`` with their negatives."""
        rows = torch.as_tensor(index)
        features = self._dataset.inter_feat
        picked = Interaction({name: features[name][rows] for name in features.columns})
        return self._neg_sampling(self.transform(self._dataset, self._dataset.join(picked)))


class VectorizedSampler:
    """Negatives as RecBole's ``Sampler`` draws them, checked against what users have by one sorted search.

    Everything else is the wrapped sampler's.

    Args:
        sampler: RecBole's sampler of one phase.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        counts = np.fromiter(map(len, sampler.used_ids), dtype=np.int64, count=len(sampler.used_ids))
        items = np.fromiter(chain.from_iterable(sampler.used_ids), dtype=np.int64, count=counts.sum())
        self._used = np.sort(self._pairs(np.repeat(np.arange(len(counts)), counts), items))
        if sampler.distribution == "popularity":
            self._popular = np.array(list(sampler.prob), dtype=np.int64)
            self._kept = np.array(list(sampler.prob.values()))
            self._alias = np.array([sampler.alias[item] for item in sampler.prob], dtype=np.int64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_sampler"], name)

    def sample_by_user_ids(self, user_ids: NDArray[np.int64], item_ids: object, num: int) -> Tensor:
        """Draws items that users have not interacted with.

        Args:
            user_ids: ``[n]``.
            item_ids: ignored, as by RecBole.
            num: negatives for each user.

        Returns:
            ``[num * n]``; user by user, ``num`` times over.
        """
        users = np.tile(user_ids, num)
        negatives = np.zeros(len(users), dtype=np.int64)
        todo = np.arange(len(users))
        while len(todo):
            negatives[todo] = self._draw(len(todo))
            todo = todo[self._is_used(users[todo], negatives[todo])]
        return torch.from_numpy(negatives)

    def _draw(self, size: int) -> NDArray[np.int64]:
        sampler = self._sampler
        if sampler.distribution != "popularity":
            return sampler.sampling(size)  # type: ignore[no-any-return]
        places = np.random.randint(0, len(self._popular), size)
        return np.where(self._kept[places] > np.random.random(size), self._popular[places], self._alias[places])

    def _is_used(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        pairs = self._pairs(users, items)
        places = np.searchsorted(self._used, pairs)
        places[places == len(self._used)] = 0
        return self._used[places] == pairs

    def _pairs(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        return users.astype(np.int64) * self._sampler.item_num + items
