r"""Synthetic interactions of any size with planted attributes, whose leak is known.

A user's items are drawn without replacement. The probability of item i for user u is proportional to

.. math:: \text{popularity}_i \cdot \exp(\text{taste}_{u, g(i)}), \qquad g(i) \text{ the genre of item } i.

Attributes enter through the taste alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_aia.data.arrays import let_go
from recbole_aia.data.atomic import write_dataset
from recbole_aia.data.shards import shards_folder, write_shards
from recbole_aia.errors import ConfigValueError

NAME = "synthetic"
_GENRES = 16  # genres of a dataset with enough items; MovieLens has 18
_BLOCK = 2**23  # interactions whose items are drawn at a time; about 60 bytes each
_CELLS = 2**22  # users times items in a block of dense scores: 32 MiB in double precision


@dataclass(frozen=True)
class Planted:
    """An attribute to plant.

    Attributes:
        name: of the attribute and of its column.
        classes: names of its classes, at least two.
        weights: how many users each class has, in numbers or as shares; only their proportions count.
    """

    name: str
    classes: tuple[str, ...]
    weights: tuple[float, ...]


GROUP = Planted("group", ("a", "b"), (0.7, 0.3))  # b is about as rare as women are in MovieLens


@dataclass(frozen=True)
class SyntheticData:
    """Interactions, sorted by user, and the planted attributes. Users and items count from 0.

    Attributes:
        users: ``[n]`` user of each interaction.
        items: ``[n]`` item of each interaction; no pair of user and item occurs twice.
        timestamps: ``[n]`` a random order of all interactions, 0 to n - 1; independent of everything else. Above eight
            million interactions, random times from 0 to n - 1, which may repeat.
        attributes: what is planted, ``A`` attributes.
        labels: ``[n_users, A]`` int8, for each attribute an index into its classes.
    """

    users: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray
    attributes: tuple[Planted, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class _Market:
    """``popularity`` and ``genres`` of the items, ``[n_items]`` each, and the users' ``tastes`` [n_users, n_genres]."""

    popularity: np.ndarray
    genres: np.ndarray
    tastes: np.ndarray

    def draw(self, rng: np.random.Generator, wanted: np.ndarray) -> np.ndarray:
        """Draws ``wanted`` [n_users] items for each user, with replacement, as keys (see :func:`_pairs`)."""
        buyers = np.flatnonzero(wanted)
        mass = np.bincount(self.genres, self.popularity)
        shares = mass * np.exp(self.tastes[buyers] - self.tastes[buyers].max(axis=1, keepdims=True))
        by_genre = rng.multinomial(wanted[buyers], shares / shares.sum(axis=1, keepdims=True))
        users = np.repeat(buyers, wanted[buyers])
        genres = np.repeat(np.tile(np.arange(mass.size), buyers.size), by_genre.ravel())
        # Items sorted by genre: one table of cumulative popularity serves all genres.
        shelf = np.argsort(self.genres, kind="stable")
        upper = np.cumsum(self.popularity[shelf])
        last = np.cumsum(np.bincount(self.genres)) - 1
        low = np.append(0.0, upper[last[:-1]])
        points = low[genres] + rng.random(users.size) * (upper[last] - low)[genres]
        places = np.minimum(np.searchsorted(upper, points, side="right"), last[genres])
        keys: np.ndarray = users * self.genres.size + shelf[places]
        return keys


def generate(
    n_users: int,
    n_items: int,
    n_interactions: int,
    *,
    leak: float = 1.0,
    seed: int = 0,
    attributes: Sequence[Planted] = (GROUP,),
    fewest: int = 5,
    folder: Path | None = None,
) -> SyntheticData:
    r"""Generates interactions of users whose classes like different genres.

    .. math:: \text{taste}_u = 2 \, \Bigl(\varepsilon_u + \text{leak} \sum_a p_{a, k_a(u)} \, d_a\Bigr),
        \qquad \varepsilon_u \sim N(0, I), \quad p_{a, k} = -1 + \frac{2 k}{K_a - 1}

    The classes :math:`k = 0, \dots, K_a - 1` of an attribute stand evenly between -1 and 1 along a direction of its
    own. The directions :math:`d_a` are orthonormal, and attributes are independent of each other. Whoever knew the
    tastes would tell the outermost classes apart with an AUC of :math:`\Phi(\sqrt 2 \cdot \text{leak})`, which is 0.92
    for a leak of 1. The interactions show the tastes with noise, so that their AUC is lower; for a leak of 0 it is 1/2.

    Args:
        n_users: at least 20; the smaller class of ``group`` then has 6 users, and fewer cannot be attacked.
        n_items: more than there are attributes; every item occurs at least once.
        n_interactions: at least one for every user and every item, at most half of the items for every user. The
            number of a user's interactions is log-normal.
        leak: 0 to 10; distance of the outermost classes from the centre, in standard deviations of the individual
            taste.
        seed: 0 to 2**31 - 1. The same seed gives the same classes and popularity for every leak.
        attributes: what to plant, at most 15.
        fewest: interactions that a user has at least, if the mean over users is as large.
        folder: an empty one for files to which the interactions are mapped; ``None`` keeps them in memory.

    Raises:
        ConfigValueError: a number is outside its range, or the numbers do not fit together.
    """
    _check(n_users, n_items, n_interactions, leak, seed, len(attributes))
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.permutation(_classes(each, n_users)) for each in attributes], axis=1)
    directions = _directions(len(attributes), min(_GENRES, n_items))
    tastes = rng.standard_normal((n_users, directions.shape[1]))
    for column, (each, direction) in enumerate(zip(attributes, directions, strict=True)):
        places = np.linspace(-1.0, 1.0, len(each.classes))
        tastes += leak * np.outer(places[labels[:, column]], direction)
    tastes *= 2.0  # chosen so that recommending by tastes is two or three times as good as by popularity
    # Zipf's law with Mandelbrot's offset. Without the offset every user would have the first few items.
    popularity = rng.permutation(1.0 / (np.arange(1, n_items + 1) + n_items / 200))
    genres = rng.permutation(np.arange(n_items) % directions.shape[1])
    market = _Market(popularity / popularity.sum(), genres, tastes)
    counts = _activity(rng, n_users, n_interactions, fewest, n_items // 2)
    users, items, timestamps = (_column(folder, name, n_interactions) for name in ("users", "items", "timestamps"))
    ends = np.cumsum(counts)
    for first, last in _blocks(ends):
        block = _Market(market.popularity, genres, tastes[first:last])
        at = slice(ends[first] - counts[first], ends[last - 1])
        users[at], items[at] = np.divmod(_pairs(rng, block, counts[first:last]), n_items)
        users[at] += first
        let_go(users)
    _place_missing(rng, items, n_items)
    for at in _slices(n_interactions):
        whole = at.stop - at.start == n_interactions
        timestamps[at] = (
            rng.permutation(n_interactions) if whole else rng.integers(n_interactions, size=at.stop - at.start)
        )
        let_go(timestamps)
    return SyntheticData(users, items, timestamps, tuple(attributes), labels)


def write(
    data: SyntheticData, folder: Path, name: str = NAME, settings: str | None = None, *, shards: bool = False
) -> None:
    """Writes RecBole's atomic files ``name/name.inter`` and ``.user`` into a folder, all or none.

    Users and items are numbered from 1. Files with the same content stay as they are.

    Args:
        data: what to write.
        folder: the folder of datasets.
        name: of the dataset.
        settings: the text of ``name.yaml`` beside them; ``None`` writes none.
        shards: whether to write shards in place of ``name.inter``.

    Raises:
        ConfigValueError: the folder holds another dataset of this name, or cannot be written to.
    """
    users: dict[str, np.ndarray] = {"user_id:token": np.arange(1, len(data.labels) + 1)}
    users |= {f"{each.name}:token": np.take(each.classes, data.labels[:, a]) for a, each in enumerate(data.attributes)}

    def fill(aside: Path) -> None:
        pd.DataFrame(users).to_csv(aside / f"{name}.user", sep="\t", index=False, lineterminator="\n")
        if shards:
            _write_shards(data, shards_folder(aside, name))
        else:
            inter = {
                "user_id:token": data.users + 1,
                "item_id:token": data.items + 1,
                "timestamp:float": data.timestamps,
            }
            pd.DataFrame(inter).to_csv(aside / f"{name}.inter", sep="\t", index=False, lineterminator="\n")
        if settings is not None:
            (aside / f"{name}.yaml").write_text(settings, encoding="utf-8")

    write_dataset(folder, name, fill)


def activity(data: SyntheticData) -> np.ndarray:
    """Number of interactions of each user, ``[n_users]``."""
    counts = np.zeros(len(data.labels), np.int64)
    for at in _slices(len(data.users)):
        counts += np.bincount(data.users[at], minlength=len(counts))
    return counts


def _write_shards(data: SyntheticData, folder: Path) -> None:
    folder.mkdir()
    n = len(data.users)
    parts = ((data.users[at], data.items[at], {"timestamp": data.timestamps[at]}) for at in _slices(n))
    n_items = int(data.items.max()) + 1
    write_shards(folder, n, ["timestamp"], parts, range(1, len(data.labels) + 1), range(1, n_items + 1))


def _column(folder: Path | None, name: str, n: int) -> np.ndarray:
    if folder is None:
        return np.empty(n, np.int64)
    path, kind = folder / f"{name}.npy", np.int64 if name == "timestamps" else np.int32
    column = np.lib.format.open_memmap(path, "w+", kind, (n,))
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and would end the process when a page is written
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return column


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _blocks(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """The first user, and the one after the last, of blocks of about :data:`_BLOCK` interactions.

    Args:
        ends: cumulative counts.
    """
    marks = np.arange(_BLOCK, ends[-1] + _BLOCK, _BLOCK)
    lasts = np.unique(np.minimum(np.searchsorted(ends, marks) + 1, len(ends))).tolist()
    return zip([0, *lasts[:-1]], lasts, strict=True)


def _check(n_users: int, n_items: int, n_interactions: int, leak: float, seed: int, n_attributes: int) -> None:
    if not 0 < n_attributes < _GENRES:
        raise ConfigValueError(f"{n_attributes} attributes cannot be planted. Give 1 to {_GENRES - 1}.")
    for name, value, least in (("users", n_users, 20), ("items", n_items, n_attributes + 1), ("seed", seed, 0)):
        if not least <= value < 2**31:
            raise ConfigValueError(f"{name} is {value}. It must be between {least} and {2**31 - 1}.")
    if not 0.0 <= leak <= 10.0:
        raise ConfigValueError(f"leak is {leak}. It must be between 0 and 10.")
    least, most = max(n_users, n_items), n_users * (n_items // 2)
    if not least <= n_interactions <= most:
        raise ConfigValueError(
            f"interactions is {n_interactions}. With {n_users} users and {n_items} items it must be between {least}, "
            f"one for each, and {most}, half of the items for every user. Ask for that, or for other users or items."
        )


def _classes(planted: Planted, n_users: int) -> np.ndarray:
    """The class of each user, in proportion to the weights and in descending order, ``[n_users]`` int8."""
    beyond = np.cumsum(planted.weights[::-1])[-2::-1] / np.sum(planted.weights)  # shares of users above class 0, 1, ...
    counts = [round(share * n_users) for share in beyond.tolist()]
    labels: np.ndarray = (np.arange(n_users) < np.array(counts)[:, None]).sum(axis=0).astype(np.int8)
    return labels


def _directions(count: int, n_genres: int) -> np.ndarray:
    """Orthonormal directions in the space of genres, ``[count, n_genres]``: polynomials of the genre's number.

    The first is a straight line. A direction that is the same for all genres would not change what users like.
    """
    line = np.linspace(-1.0, 1.0, n_genres)
    found: np.ndarray = np.linalg.qr(np.vander(line, count + 1, increasing=True))[0].T[1:].copy()
    found[0] = line / np.linalg.norm(line)  # as it is, without rounding and with its sign
    return found


def _activity(rng: np.random.Generator, n_users: int, total: int, fewest: int, most: int) -> np.ndarray:
    """Log-normal numbers of interactions ``[n_users]``, with the sum ``total``.

    Each is at most ``most``, and at least ``fewest`` or the mean if that is smaller.
    """
    fewest = min(fewest, total // n_users)
    weights = rng.lognormal(sigma=1.2, size=n_users)  # makes activity about as uneven as in MovieLens-1M
    extra, room = total - fewest * n_users, most - fewest
    low, high = 0.0, room / weights.min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(room, middle * weights).sum() < extra else (low, middle)
    shares = np.minimum(room, high * weights)
    counts: np.ndarray = np.floor(shares).astype(np.int64)
    # The largest remainders are rounded up. Users who have ``most`` already have no remainder.
    counts[np.argsort(counts - shares, kind="stable")[: extra - counts.sum()]] += 1
    counts += fewest
    return counts


def _pairs(rng: np.random.Generator, market: _Market, counts: np.ndarray) -> np.ndarray:
    """Draws ``counts`` [n_users] different items for each user; the pairs are ascending keys user * n_items + item."""
    n_items = market.genres.size
    keys: np.ndarray = np.empty(0, np.int64)
    missing = counts
    for _ in range(8):
        # Each round draws exactly as many as are missing. Dropping repetitions then is drawing without replacement.
        keys = np.sort(np.concatenate([keys, market.draw(rng, missing)]))
        keys = keys[np.append(True, keys[1:] != keys[:-1])]  # np.unique of NumPy 2.4 takes ten times as long
        missing = counts - np.bincount(keys // n_items, minlength=counts.size)
        if not missing.any():
            return keys
    # The last users have nearly all items that they like. For them the largest Gumbel-perturbed log-probabilities are
    # taken, which have the same distribution.
    waiting = np.flatnonzero(missing)
    for block in np.array_split(waiting, -(-waiting.size * n_items // _CELLS)):
        scores = np.log(market.popularity) + market.tastes[block][:, market.genres]
        scores += rng.gumbel(size=scores.shape)
        held = keys[np.isin(keys // n_items, block)]
        scores[np.searchsorted(block, held // n_items), held % n_items] = -np.inf
        best = np.argsort(-scores, axis=1)[:, : missing[block].max()]
        taken = np.arange(best.shape[1]) < missing[block][:, None]
        keys = np.append(keys, (block[:, None] * n_items + best)[taken])
    keys.sort()
    return keys


def _place_missing(rng: np.random.Generator, items: np.ndarray, n_items: int) -> None:
    """Replaces, in ``items [n]``, random repetitions of items by the items that no user has."""
    kept = np.full(n_items, -1)
    for at in _slices(items.size):
        kept[items[at]] = np.arange(at.start, at.stop)
        let_go(items)
    missing = np.flatnonzero(kept < 0)
    if items.size <= _BLOCK:
        spare = np.delete(np.arange(items.size), kept[kept >= 0])
        items[rng.choice(spare, missing.size, replace=False)] = missing
        return
    places = np.empty(0, np.int64)
    while places.size < missing.size:
        drawn = rng.integers(items.size, size=missing.size)
        places = np.union1d(places, drawn[kept[items[drawn]] != drawn])
    items[rng.permutation(places)[: missing.size]] = missing
