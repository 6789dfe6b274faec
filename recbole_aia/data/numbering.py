"""Which user and which item each internal id of a dataset means.

RecBole numbers users and items by their first appearance, so that the same file with its rows in another order gives
other numbers. A checkpoint keeps its numbering, and the data are brought into it: by token and never by number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.utils import FeatureType
from torch import Tensor

from recbole_aia.errors import AttributeDataError, CheckpointError

_Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Numbering:
    """The users and items of a dataset as it was trained on, and the order of its interactions.

    Attributes:
        users: original ids of the users ``1..n``, ``[n]``.
        items: original ids of the items ``1..m``, ``[m]``.
        order: rows of the interactions, sorted by user, item and time; with it, interactions in any other order are
            brought back into theirs, on which RecBole's splits depend. ``None`` if unknown.
        interactions: SHA-256 over the interactions in their order; ``None`` if unknown.
    """

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    order: NDArray[np.int32] | None = None
    interactions: str | None = None

    @classmethod
    def of(cls, dataset: Any) -> Numbering:
        """The numbering of a dataset of RecBole as created, with all interactions."""
        columns = _columns(dataset)
        return cls(*_tokens(dataset), _sorted_rows(columns).astype(np.int32), _digest(columns))

    @classmethod
    def of_part(cls, dataset: Any) -> Numbering:
        """The numbering of a dataset that holds some of its interactions only, such as a training split."""
        return getattr(dataset, "numbering", None) or cls(*_tokens(dataset))

    @classmethod
    def kept_in(cls, state: Mapping[str, Any], path: Any) -> Numbering | None:
        """The numbering that a checkpoint keeps; ``None`` if it keeps none.

        Raises:
            CheckpointError: the checkpoint keeps something else in its place.
        """
        kept = state.get("numbering")
        if kept is None:
            return None
        try:
            order, digest = kept["order"], kept["interactions"]
            return cls(_read(kept["users"]), _read(kept["items"]), None if order is None else order.numpy(), digest)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint '{path}' does not say which users and items it holds. Use it as it was written."
            ) from error

    def kept(self) -> dict[str, Any]:
        """The numbering as tensors, which torch reads faster than lists of texts."""
        order = None if self.order is None else torch.from_numpy(self.order)
        return {
            "users": _written(self.users),
            "items": _written(self.items),
            "order": order,
            "interactions": self.interactions,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the users, the items, and the interactions in their order."""
        text = json.dumps([self.users.tolist(), self.items.tolist(), self.interactions])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def agrees(self, other: Numbering) -> bool:
        """Whether both number the same users and items alike."""
        return np.array_equal(self.users, other.users) and np.array_equal(self.items, other.items)

    def __deepcopy__(self, memo: Any) -> Numbering:
        """The same object, because nothing in it changes. Datasets are copied before every split."""
        return self


def renumber(dataset: Any, numbering: Numbering, path: Any) -> Any:
    """Brings a dataset as created into the numbering and the order of a checkpoint.

    Args:
        dataset: the dataset, which is changed.
        numbering: the numbering that the checkpoint keeps.
        path: the checkpoint, for messages.

    Returns:
        The dataset. ``dataset.renumbered`` says whether its file has another order.

    Raises:
        CheckpointError: the dataset has other users, items or interactions than the checkpoint was trained on.
    """
    here: Numbering = dataset.numbering
    dataset.renumbered = here.digest != numbering.digest
    if not dataset.renumbered:
        return dataset
    if numbering.order is None:
        return _as_it_is(dataset, numbering, path)
    for what, ours, theirs in (("users", here.users, numbering.users), ("items", here.items, numbering.items)):
        _refuse_others(what, ours, theirs, path)
    _give_ids(dataset, dataset.uid_field, _positions(here.users, numbering.users), numbering.users)
    _give_ids(dataset, dataset.iid_field, _positions(here.items, numbering.items), numbering.items)
    columns = _columns(dataset)
    if len(columns[0]) == len(numbering.order):
        rows = np.empty(len(numbering.order), dtype=np.int64)
        rows[numbering.order] = _sorted_rows(columns)
        dataset.inter_feat = dataset.inter_feat.iloc[rows].reset_index(drop=True)
    if _digest(_columns(dataset)) != numbering.interactions:
        raise CheckpointError(
            f"the checkpoint '{path}' was trained on other interactions than those of {dataset.dataset_name}, "
            "though of the same users and items. Give the data that it was trained on."
        )
    dataset.numbering = numbering
    return dataset


def refuse_other_users(users: NDArray[np.str_] | None, model: Any) -> None:
    """Refuses users other than a model's, or the same users under other internal ids.

    Args:
        users: original ids of the users ``1..n`` of labels or of training data, ``[n]``; ``None`` if unknown.
        model: a model that :func:`~recbole_aia.model.build_model` has built. Any other model does not know its users.

    Raises:
        AttributeDataError: they are not the model's users.
    """
    numbering = getattr(model, "numbering", None)
    if users is not None and numbering is not None and not np.array_equal(users, numbering.users):
        raise AttributeDataError(
            "labels and training data must be of the users of the model, numbered alike, and these are not. "
            "Load them from the dataset that the model was built from."
        )


def shuffle_users(dataset: Any, seed: int) -> Any:
    """Gives the users of a dataset as created each other's numbers, at random; changes and returns the dataset."""
    users = dataset.numbering.users
    positions = np.random.default_rng(seed).permutation(len(users))
    shuffled = np.empty_like(users)
    shuffled[positions] = users
    _give_ids(dataset, dataset.uid_field, np.append(0, positions + 1), shuffled)
    dataset.numbering = Numbering.of(dataset)
    return dataset


def _as_it_is(dataset: Any, numbering: Numbering, path: Any) -> Any:
    """The dataset, if it numbers users and items as a checkpoint does that does not know the order of interactions."""
    dataset.renumbered = False
    if not dataset.numbering.agrees(numbering):
        raise CheckpointError(
            f"the checkpoint '{path}' was trained on other data, or its rows were in another order. "
            "Give the file that it was trained on."
        )
    return dataset


def _refuse_others(what: str, here: NDArray[np.str_], theirs: NDArray[np.str_], path: Any) -> None:
    missing, more = np.setdiff1d(theirs, here), np.setdiff1d(here, theirs)
    if len(missing) or len(more):
        raise CheckpointError(
            f"the checkpoint '{path}' was trained on other data: {len(missing)} of its {len(theirs)} {what} are not in "
            f"these data, and {len(more)} {what} of these data are not in it. Give the data that it was trained on."
        )


def _positions(here: NDArray[np.str_], theirs: NDArray[np.str_]) -> _Ids:
    """For each internal id here, the padding's included, the id that the same token has there, ``[n + 1]``."""
    ids = {token: row for row, token in enumerate(theirs.tolist(), start=1)}
    return np.array([0, *(ids[token] for token in here.tolist())], dtype=np.int64)


def _give_ids(dataset: Any, field: str, positions: _Ids, tokens: NDArray[np.str_]) -> None:
    """Gives a field, and every field that shares its ids, new ids.

    Args:
        dataset: the dataset as created.
        field: the field of users or of items.
        positions: the new id of each old one, ``[n + 1]``.
        tokens: the original ids in their new order, ``[n]``.
    """
    old, names = dataset.field2id_token[field], np.append("[PAD]", tokens)
    ids = {token: number for number, token in enumerate(names)}
    for shared in [each for each, known in dataset.field2id_token.items() if known is old]:
        dataset.field2id_token[shared], dataset.field2token_id[shared] = names, ids
        for feature in dataset.field2feats(shared):
            if dataset.field2type[shared] == FeatureType.TOKEN:
                feature[shared] = positions[feature[shared].to_numpy()]
            else:
                feature[shared] = [positions[np.asarray(each)] for each in feature[shared]]
    for name in ("user_feat", "item_feat"):  # RecBole finds the features of an id in the row of that number
        features = getattr(dataset, name)
        if features is not None and field in features:
            setattr(dataset, name, features.sort_values(field, kind="stable").reset_index(drop=True))


def _tokens(dataset: Any) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    users, items = (dataset.field2id_token[field][1:] for field in (dataset.uid_field, dataset.iid_field))
    return np.asarray(users, dtype=np.str_), np.asarray(items, dtype=np.str_)


def _columns(dataset: Any) -> list[NDArray[Any]]:
    """User, item and, if it is loaded, time of each interaction, ``[n]`` each."""
    features = dataset.inter_feat
    fields = [dataset.uid_field, dataset.iid_field, dataset.time_field]
    return [np.asarray(features[field]) for field in fields if field in features.columns]


def _sorted_rows(columns: list[NDArray[Any]]) -> _Ids:
    """The rows by user, item and time, ``[n]``."""
    users, items = columns[:2]
    pairs = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    rows = np.argsort(pairs, kind="stable")
    ordered = pairs[rows]
    if len(columns) > 2 and (ordered[1:] == ordered[:-1]).any():
        rows = np.lexsort((columns[2], pairs))
    return rows


def _digest(columns: list[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype=np.float64 if column.dtype.kind == "f" else np.int64).data)
    return digest.hexdigest()


def _written(texts: NDArray[np.str_]) -> Tensor:
    encoded = json.dumps(texts.tolist()).encode()
    return torch.frombuffer(bytearray(encoded), dtype=torch.uint8)


def _read(encoded: Tensor) -> NDArray[np.str_]:
    texts = json.loads(encoded.numpy().tobytes())
    if not (isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)):
        raise ValueError("no list of texts")
    return np.array(texts, dtype=np.str_)
