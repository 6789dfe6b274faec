"""Embeddings without a model: arrays in, arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_aia.evaluator import checked_embeddings, encode_labels, label_columns
from recbole_aia.losses import EXACT_USERS, ClassDiscrepancy, aligned, transport

_STEPS = 100  # of the descent for few users
_LEAST_STEPS = 1
_STEP_USERS = 100_000  # users times steps, where there are more than few: about two seconds on two cores
_TRANSPORT_USERS = 10_000  # from which on classes are transported first: their moments are then nearly free of noise
_SILENT = 0.01  # share of zeros from which on they are a tower's silent units, which an affine map would wake


def protect(embeddings: Any, labels: Any, *, max_steps: int | None = None, seed: int = 0) -> NDArray[np.floating[Any]]:
    """Moves user embeddings until attributes can be told no better than permuted labels, and no worse.

    Needs no model and no interactions. For few users it is a descent alone (:func:`~recbole_aia.losses.align`); classes
    of many are first transported in closed form (:func:`~recbole_aia.losses.transport`).

    Example:
        >>> protected = protect(embeddings, {"gender": gender, "age": age})

    Args:
        embeddings: ``[n_users, d]``, finite numbers.
        labels: one value a user: an array, list or Series, a mapping from attribute to such, or a DataFrame. -1, None,
            NaN and "" mean not known: such users do not move for that attribute.
        max_steps: of the descent; by the number of users where ``None``.
        seed: >= 0; of random features and groups.

    Returns:
        ``[n_users, d]``, of the type of ``embeddings`` (float64 where that is no floating type).

    Raises:
        AttributeDataError: embeddings or labels that cannot be used, or an attribute with a single class.
    """
    points = checked_embeddings(embeddings)
    codes = np.full((len(points), len(label_columns(labels))), -1)
    for a, (name, column) in enumerate(label_columns(labels).items()):
        target = encode_labels(name, column, len(points), folds=1)
        codes[target.users, a] = target.codes
    users, known = torch.from_numpy(points).float(), torch.from_numpy(codes)
    many = len(users) > _TRANSPORT_USERS and float((users == 0).float().mean()) < _SILENT
    start = transport(users, known, seed) if many else users
    if max_steps is None:
        max_steps = _STEPS if len(users) <= EXACT_USERS else max(_LEAST_STEPS, _STEP_USERS // len(users))
    moved = aligned(start, ClassDiscrepancy(users, known, seed=seed), max_steps)[0].numpy()
    given = np.asarray(embeddings).dtype
    return moved.astype(given if np.issubdtype(given, np.floating) else np.float64)
