"""Training batches that are drawn on a GPU, so that no step waits for the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import InputType
from torch import Tensor

from recbole_aia.data.seen import SeenItems

_Ids = NDArray[np.int64]

_ROWS = 2**22  # interactions that are drawn at a time, which bounds the memory


class DrawnBatches:
    """RecBole's training batches, of which order and negatives are drawn on a device.

    They are distributed as those of RecBole's ``TrainDataLoader``, with the same columns. The numbers are the device's,
    so a seed gives the same batches again on a device of the same kind, and others on a CPU.

    Args:
        loader: the loader whose batches these are.
        device: where all is drawn, and where the batches lie.
        full: whether each user has interacted with all items, ``[n_users]``, and is left out; ``None``: no user has.
    """

    def __init__(self, loader: Any, device: torch.device, full: Tensor | None = None) -> None:
        self.loader, self.dataset = loader, loader._dataset
        self.columns = _moved(self.dataset.inter_feat, device)
        users = self.columns[self.dataset.uid_field]
        self.rows = torch.arange(len(users), device=device)
        if full is not None:
            self.rows = self.rows[~full.to(device)[users]]
        keys = (self.dataset.uid_field, self.dataset.user_feat), (self.dataset.iid_field, self.dataset.item_feat)
        self.features = [(key, _moved(features, device)) for key, features in keys if features is not None]
        sampler = loader._sampler
        self.negatives = None if sampler is None else Negatives.of(sampler, device)

    def epoch(self, generator: torch.Generator) -> Iterator[Interaction]:
        """One epoch of batches, drawn by a generator of the device."""
        rows, step = self.rows, self.loader.step
        if self.loader.shuffle:
            rows = rows[torch.randperm(len(rows), generator=generator, device=rows.device)]
        for block in rows.split(max(1, _ROWS // step) * step):
            picked = {name: column[block] for name, column in self.columns.items()}
            drawn = None
            if self.negatives is not None:
                users = picked[self.dataset.uid_field].repeat(self.loader.neg_sample_num)
                drawn = self.negatives.draw(users, generator).view(-1, len(block))
            for start in range(0, len(block), step):
                at = slice(start, start + step)
                batch = {name: column[at] for name, column in picked.items()}
                yield Interaction(self._batch(batch, None if drawn is None else drawn[:, at].flatten()))

    def _batch(self, batch: dict[str, Tensor], negatives: Tensor | None) -> dict[str, Tensor]:
        """The columns of a batch, from those of its interactions and its negatives, as RecBole lays them out."""
        loader, item = self.loader, self.dataset.iid_field
        if negatives is None:
            return self._joined(batch)
        if loader.dl_format == InputType.PAIRWISE:
            others = self._joined({item: negatives})
            prefixed = {loader.neg_prefix + name: column for name, column in others.items()}
            return {**_repeated(self._joined(batch), loader.times), **prefixed}
        n, repeated = len(batch[item]), _repeated(batch, loader.times)
        repeated[item] = torch.cat([batch[item], negatives])
        labels = (torch.arange(n * loader.times, device=negatives.device) < n).float()
        return {**self._joined(repeated), loader.label_field: labels}

    def _joined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """The columns with the features of their users and items, as ``Dataset.join`` adds them."""
        joined = dict(columns)
        for key, features in self.features:
            if key in columns:
                joined |= {name: column[columns[key]] for name, column in features.items()}
        return joined


class Negatives:
    """Draws items that users have not interacted with, by RecBole's distributions.

    Args:
        users: of all interactions, ``[m]``, on the device that draws.
        items: of all interactions, ``[m]``.
        n_items: number of items; item 0 is never drawn.
        popular: for the distribution by popularity, items ``[k]``, the probability of each to be kept when it is drawn,
            and the item in its place otherwise; ``None``: the uniform distribution.
    """

    def __init__(
        self, users: Tensor, items: Tensor, n_items: int, popular: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> None:
        self.n_items, self.device, self._popular = n_items, users.device, popular
        self._seen = (users * n_items + items).sort().values

    @classmethod
    def of(cls, sampler: Any, device: torch.device) -> Negatives:
        """Draws as RecBole's sampler of one phase, or ours, does."""
        users, items = (torch.from_numpy(part).to(device) for part in used_pairs(sampler))
        popular = None
        if sampler.distribution == "popularity":
            popular = (
                torch.tensor(list(sampler.prob), device=device),
                torch.tensor(list(sampler.prob.values()), device=device),
                torch.tensor([sampler.alias[item] for item in sampler.prob], device=device),
            )
        return cls(users, items, sampler.item_num, popular)

    @staticmethod
    def takes(sampler: Any) -> bool:
        """Whether the sampler draws by a distribution that is known here."""
        plain = isinstance(sampler, Sampler) and type(sampler).sample_by_user_ids is Sampler.sample_by_user_ids
        return plain and sampler.distribution in ("uniform", "popularity")

    def draw(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """A negative for each of the users ``[n]``, ``[n]``; the users must have some left."""
        drawn = self._items(len(users), generator)
        todo = self.seen(users, drawn).nonzero().squeeze(1)
        while len(todo):  # waits for the device, a few times in an epoch
            again = self._items(len(todo), generator)
            drawn[todo] = again
            todo = todo[self.seen(users[todo], again)]
        return drawn

    def seen(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether each user has interacted with the item beside, ``[n]``."""
        keys = users * self.n_items + items
        places = torch.searchsorted(self._seen, keys).clamp_max_(len(self._seen) - 1)
        found: Tensor = self._seen[places] == keys
        return found

    def _items(self, size: int, generator: torch.Generator) -> Tensor:
        if self._popular is None:
            return torch.randint(1, self.n_items, (size,), generator=generator, device=self.device)
        items, chances, others = self._popular
        places = torch.randint(len(items), (size,), generator=generator, device=self.device)
        kept = chances[places] > torch.rand(size, generator=generator, device=self.device, dtype=chances.dtype)
        return torch.where(kept, items[places], others[places])


def used_pairs(sampler: Any) -> tuple[_Ids, _Ids]:
    """Which user has used which item up to the sampler's phase: users ``[m]`` and items ``[m]``."""
    if isinstance(sampler.used_ids, SeenItems):
        return sampler.used_ids.pairs()
    counts = np.fromiter(map(len, sampler.used_ids), dtype=np.int64, count=len(sampler.used_ids))
    items = np.fromiter(chain.from_iterable(sampler.used_ids), dtype=np.int64, count=counts.sum())
    return np.repeat(np.arange(len(counts)), counts), items


def _moved(features: Interaction, device: torch.device) -> dict[str, Tensor]:
    return {name: features[name].to(device) for name in features.columns}


def _repeated(columns: dict[str, Tensor], times: int) -> dict[str, Tensor]:
    return {name: column if times == 1 else torch.cat([column] * times) for name, column in columns.items()}
