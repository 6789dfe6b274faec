"""Faster versions of RecBole's loaders: the same training batches, bit for bit on a CPU, and larger evaluation ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from torch import Tensor
from torch.utils.data import RandomSampler

from recbole_aia.data.drawn import DrawnBatches, Negatives, used_pairs
from recbole_aia.data.mapped import MappedInteraction
from recbole_aia.data.seen import SeenItems
from recbole_aia.ranks import ranks

_Ids = NDArray[np.int64]
_MOST_PAIRS = 2**33  # most pairs of user and item for which we keep a bit each: one gigabyte
_SCORES = 2**20  # scores of an evaluation batch, at least: four megabytes in single precision
_GPU_SCORES = 2**26  # on a GPU, where every batch costs launches and copies: a quarter of a gigabyte


class FastTrainDataLoader(TrainDataLoader):  # type: ignore[misc]
    """Draws random numbers in the order of RecBole's ``TrainDataLoader``, so that batches are bit for bit equal.

    On a GPU it draws there (:class:`DrawnBatches`), and batches are other ones of the same distribution.

    Args:
        config: the run's configuration.
        dataset: the training split.
        sampler: RecBole's sampler of the training phase; ``None`` if no negatives are drawn.
        shuffle: whether every epoch is shuffled.
    """

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        # RecBole's other samplers (with repeated items, over entities) stay as they are.
        self._full = full_users(sampler)
        self._drawn: DrawnBatches | None = None
        self._on_device = _draws_on_device(config, sampler)
        if not self._on_device and VectorizedSampler.takes(sampler):
            sampler = VectorizedSampler(sampler)
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        if isinstance(dataset.inter_feat, MappedInteraction):
            self._number_without_a_list(len(dataset))
        if self._on_device:
            self.generator = torch.Generator(config["device"]).manual_seed(config["seed"])

    def _init_batch_size_and_step(self) -> None:
        super()._init_batch_size_and_step()
        under_construction = "dataset" not in self.__dict__
        if under_construction and isinstance(self._dataset.inter_feat, MappedInteraction):
            self.sample_size = 1  # RecBole next makes a list of this many numbers, of 40 bytes each

    def _number_without_a_list(self, size: int) -> None:
        self.sample_size, numbers = size, range(size)
        object.__setattr__(self, "dataset", numbers)  # torch's loader refuses another one
        self.sampler.data_source = numbers

    def __iter__(self) -> Iterator[Interaction]:
        """One epoch of batches; a batch without users who have negatives is left out."""
        if self._on_device:
            self._drawn = self._drawn or DrawnBatches(self, torch.device(self.config["device"]), self._full)
            return self._drawn.epoch(self.generator)
        batches = super().__iter__() if self.num_workers > 0 else self._batches()
        return batches if self._full is None else (batch for batch in batches if len(batch))

    def _batches(self) -> Iterator[Interaction]:
        # torch's loader draws a seed for its workers before the order, even if there are no workers, ...
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        shuffled = isinstance(self.sampler, RandomSampler)
        for rows in (self._permutation() if shuffled else self._sampled()).split(self.step):
            yield self.collate_fn(rows)
        if shuffled:
            self._permutation()  # ... and draws a second order after the last batch, which it does not use.

    def _permutation(self) -> Tensor:
        return torch.randperm(self.sample_size, generator=self.generator)

    def _sampled(self) -> Tensor:
        return torch.from_numpy(np.fromiter(self.sampler, dtype=np.int64))

    def collate_fn(self, index: Any) -> Interaction:
        """The interactions at the indices ``[n]``, with their negatives, without users who have no negatives."""
        rows = torch.as_tensor(index)
        if self._full is not None:
            rows = rows[~self._full[self._picked(rows)[self._dataset.uid_field]]]
        picked = self._picked(rows)
        return self._neg_sampling(self.transform(self._dataset, self._dataset.join(picked)))

    def _picked(self, rows: Tensor) -> Interaction:
        features = self._dataset.inter_feat
        if isinstance(features, MappedInteraction):
            return features[rows]
        # RecBole's Interaction would make a list of the rows.
        return Interaction({name: features[name][rows] for name in features.columns})


def _draws_on_device(config: Any, sampler: Any) -> bool:
    """Whether batches can be drawn on a GPU: one process, no transformation, and negatives that need no model."""
    known = sampler is None or (Negatives.takes(sampler) and not config["train_neg_sample_args"].get("dynamic", False))
    plain = config["single_spec"] and not config["worker"] and config["transform"] is None
    return bool(torch.device(config["device"]).type == "cuda" and known and plain)


class WideFullSortEvalDataLoader(FullSortEvalDataLoader):  # type: ignore[misc]
    """RecBole's full-sort loader with larger batches, for models that score many users at once.

    With many items RecBole's batches often hold a single user. This loader raises an ``eval_batch_size`` below a
    million scores to a million, and on a GPU below 64 million to 64 million.
    """

    step: int

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        self._compact = isinstance(sampler, CompactSampler)
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        if self._compact:
            self.uid2history_item = _History(sampler.used_ids, self.uid2positive_item)

    def _set_user_property(self, uid: Any, used_item: set[int], positive_item: set[int]) -> None:
        """See RecBole's; a compact sampler's items are looked up when a batch is made."""
        if not self._compact or uid is None:
            super()._set_user_property(uid, used_item, positive_item)
            return
        self.uid2positive_item[uid] = torch.tensor(list(positive_item), dtype=torch.int64)
        self.uid2items_num[uid] = len(positive_item)

    def _init_batch_size_and_step(self) -> None:
        super()._init_batch_size_and_step()
        n_items = self._dataset.item_num
        least = _SCORES if torch.device(self.config["device"]).type == "cpu" else _GPU_SCORES
        self.step = max(self.step, least // n_items)
        self.set_batch_size(self.step * n_items)

    def __iter__(self) -> Iterator[Any]:
        """Batches of users; one of several processes gets its share of the users."""
        if ranks().count == 1:
            batches: Iterator[Any] = super().__iter__()
            return batches
        rows = range(self.sample_size)[ranks().part(self.sample_size)]
        return (self.collate_fn(rows[start : start + self.step]) for start in range(0, len(rows), self.step))


class PatientSampler(Sampler):  # type: ignore[misc]
    """RecBole's ``Sampler``, which also takes users who have interacted with all items. They get no negatives.

    It gathers the items of users without a loop over interactions.
    """

    def get_used_ids(self) -> dict[str, NDArray[np.object_]]:
        """The items of each user, as a set, up to each phase."""
        used, last = {}, [set[int]()] * self.user_num
        for phase, dataset in zip(self.phases, self.datasets, strict=True):
            features = dataset.inter_feat
            users, items = (features[field].numpy() for field in (self.uid_field, self.iid_field))
            items = items[np.argsort(users, kind="stable")].tolist()
            ends = np.bincount(users, minlength=self.user_num).cumsum().tolist()
            starts = [0, *ends[:-1]]
            last = [known.union(items[a:b]) for known, a, b in zip(last, starts, ends, strict=True)]
            used[phase] = np.array(last, dtype=object)
        return used


class CompactSampler(PatientSampler):
    """RecBole's ``Sampler`` for many interactions: 4 bytes each in place of sets, and the same negatives."""

    def get_used_ids(self) -> dict[str, Any]:
        """The items of each user up to each phase, :class:`SeenItems`."""
        used, seen = {}, SeenItems()
        for phase, dataset in zip(self.phases, self.datasets, strict=True):
            features = dataset.inter_feat
            pairs = features[self.uid_field].numpy(), features[self.iid_field].numpy()
            used[phase] = seen = seen.and_of(*pairs, self.user_num, self.item_num)
        return used

    def _get_candidates_list(self) -> NDArray[np.int64]:
        return np.concatenate([dataset.inter_feat[self.iid_field].numpy() for dataset in self.datasets])


class _History:
    """The items of users before the evaluated ones, as tensors that are made when they are asked for."""

    def __init__(self, used: SeenItems, evaluated: NDArray[np.object_]) -> None:
        self._used, self._evaluated = used, evaluated

    def __getitem__(self, users: Any) -> list[Tensor]:
        ids = [int(user) for user in users]
        items = [used - set(self._evaluated[user].tolist()) for user, used in zip(ids, self._used[ids], strict=True)]
        return [torch.tensor(list(each), dtype=torch.int64) for each in items]


def full_users(sampler: Any) -> Tensor | None:
    """Whether each user has interacted with all items, ``[n_users]``; ``None`` if no user has."""
    if not isinstance(sampler, PatientSampler):
        return None  # RecBole's own samplers refuse such users
    if isinstance(sampler, CompactSampler):
        full = torch.from_numpy(sampler.used_ids.full(sampler.item_num - 1))
    else:
        full = torch.tensor([len(items) >= sampler.item_num - 1 for items in sampler.used_ids])
    return full if full.any() else None


class VectorizedSampler:
    """Draws the negatives that RecBole's ``Sampler`` draws, and checks all of them against the users' items at once.

    Keeps a bit for every pair of user and item, unless the sampler keeps :class:`SeenItems`. All other attributes are
    the wrapped sampler's.

    Args:
        sampler: RecBole's sampler of one phase.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        if not isinstance(sampler, CompactSampler):
            byte, bit = self._place(*used_pairs(sampler))
            self._used = np.zeros(sampler.user_num * sampler.item_num // 8 + 1, dtype=np.uint8)
            np.bitwise_or.at(self._used, byte, bit)
        if sampler.distribution == "popularity":
            self._popular = np.array(list(sampler.prob), dtype=np.int64)
            self._kept = np.array(list(sampler.prob.values()))
            self._alias = np.array([sampler.alias[item] for item in sampler.prob], dtype=np.int64)

    @staticmethod
    def takes(sampler: Any) -> bool:
        """Whether the sampler is RecBole's plain ``Sampler``, or ours, and its bits, if any, fit into a gigabyte."""
        small = type(sampler) in (Sampler, PatientSampler) and sampler.user_num * sampler.item_num <= _MOST_PAIRS
        return small or isinstance(sampler, CompactSampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_sampler" not in self.__dict__:
            raise AttributeError(name)  # copy and pickle ask for attributes before there is a wrapped sampler
        return getattr(self._sampler, name)

    def sample_by_user_ids(self, user_ids: _Ids, item_ids: object, num: int) -> Tensor:
        """Draws items that users have not interacted with.

        Args:
            user_ids: ``[n]``.
            item_ids: ignored, as by RecBole.
            num: negatives for each user.

        Returns:
            ``[num * n]``: one negative for each of the ``n`` users, then the next for each, and so on.
        """
        users = np.tile(user_ids, num)
        negatives = np.zeros(len(users), dtype=np.int64)
        todo = np.arange(len(users))
        while len(todo):
            drawn = negatives[todo] = self._draw(len(todo))
            todo = todo[self._seen(users[todo], drawn)]
        return torch.from_numpy(negatives)

    def _draw(self, size: int) -> _Ids:
        sampler = self._sampler
        if sampler.distribution != "popularity":
            return np.asarray(sampler.sampling(size))
        places = np.random.randint(0, len(self._popular), size)
        return np.where(self._kept[places] > np.random.random(size), self._popular[places], self._alias[places])

    def _seen(self, users: _Ids, items: _Ids) -> NDArray[np.bool_]:
        if isinstance(self._sampler, CompactSampler):
            return self._sampler.used_ids.has(users, items)  # type: ignore[no-any-return]
        byte, bit = self._place(users, items)
        return (self._used[byte] & bit) > 0  # type: ignore[no-any-return]

    def _place(self, users: _Ids, items: _Ids) -> tuple[_Ids, NDArray[np.uint8]]:
        pairs = users.astype(np.int64) * self._sampler.item_num + items
        return pairs >> 3, np.left_shift(1, pairs & 7).astype(np.uint8)
