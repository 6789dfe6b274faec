"""Embeddings without a model: arrays in, arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_aia.config.types import FloatArray
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import checked_embeddings, encode_labels, label_columns
from recbole_aia.losses import EXACT_USERS, FEW_USERS, align_vectors, steps_for, transport
from recbole_aia.trainer.chance import statistics

_STEPS = 100  # of the descent for few users
_LEAST_STEPS = 1
_STEP_USERS = 120_000  # users times steps, where there are more than few: one to two seconds on two cores
_TRANSPORT_USERS = 10_000  # from which on classes are transported first: their moments are then nearly free of noise
_SILENT = 0.01  # share of zeros from which on they are a tower's silent units, which an affine map would wake


def protect(embeddings: Any, labels: Any, *, max_steps: int | None = None, seed: int = 0) -> FloatArray:
    """Moves user embeddings until the statistics of :class:`~recbole_aia.losses.ClassDiscrepancy` are at chance.

    Needs no model and no interactions. For few users it is a descent alone (:func:`~recbole_aia.losses.align`); classes
    of many are first transported in closed form (:func:`~recbole_aia.losses.transport`).

    Example:
        >>> import numpy as np
        >>> from recbole_aia import protect
        >>> rng = np.random.default_rng(0)
        >>> gender = rng.integers(0, 2, 100)
        >>> embeddings = rng.normal(size=(100, 8)) + gender[:, None]
        >>> protect(embeddings, {"gender": gender}).shape
        (100, 8)

    Args:
        embeddings: ``[n_users, d]``, finite numbers.
        labels: one value a user: an array, list or Series, a mapping from attribute to such, or a DataFrame. -1, None,
            NaN and "" mean not known: such users do not move for that attribute. Where there are four and more
            classes, their order is hidden too. Text is ordered by the numbers in it ("5-9" before "10-19"), then as
            Python orders text; give the numbers 0, 1, 2, ... for another order.
        max_steps: of the descent, >= 0. Where ``None``, what takes one to two seconds for 64 dimensions: 100 steps for
            up to 2,048 users; above that fewer, down to one for a million, by random features; in proportion more for
            more dimensions. Where given, up to 10,000 users are compared pair by pair; as many as
            ``--defense=calibrated`` takes, 100 for 64 dimensions, come closer to chance in some minutes.
        seed: >= 0; of random features and groups.

    Returns:
        ``[n_users, d]``, of the type of ``embeddings`` (float64 where that is no floating type).

    Raises:
        AttributeDataError: embeddings or labels that cannot be used, or an attribute of which no class has two members
            and two users outside it.
        ConfigValueError: ``max_steps`` or ``seed`` that is no whole number >= 0.
    """
    for name, value in (("max_steps", 0 if max_steps is None else max_steps), ("seed", seed)):
        if not isinstance(value, int) or value < 0:
            raise ConfigValueError(f"{name} is {value!r}. It must be a whole number >= 0.")
    points, columns = checked_embeddings(embeddings), label_columns(labels)
    if not columns:
        raise AttributeDataError("there are no labels. Give at least one attribute to hide.")
    codes = np.full((len(points), len(columns)), -1)
    for a, (name, column) in enumerate(columns.items()):
        advice = "Give labels of two classes, or leave it out of labels: there is nothing to hide."
        attribute = encode_labels(name, column, len(points), folds=1, advice=advice)
        codes[attribute.users, a] = attribute.codes
    if not np.ptp(points, axis=0).any():
        raise AttributeDataError(
            f"the embeddings of all {len(points)} users are the same vector. Give embeddings that differ between users."
        )
    users, known = torch.from_numpy(points), torch.from_numpy(codes)
    # Single precision about the mean of each dimension, and of the difference alone: who does not move stays exactly.
    center, silent = users.mean(0), users == 0
    near = (users - center).float()
    many = len(users) > _TRANSPORT_USERS and float(silent.float().mean()) < _SILENT
    start = transport(near, known, seed) if many else near
    exact_users = FEW_USERS if max_steps is None else EXACT_USERS
    discrepancy = statistics(near, known, list(columns), seed=seed, exact_users=exact_users)
    if max_steps is None:
        few = len(users) <= FEW_USERS
        max_steps = steps_for(users.shape[1], _STEPS if few else max(_LEAST_STEPS, _STEP_USERS // len(users)))
    moved = align_vectors(start, discrepancy, max_steps, silent, judged=False)[0]
    protected = (users + (moved - near).double()).numpy()
    given = np.asarray(embeddings).dtype
    return protected.astype(given if np.issubdtype(given, np.floating) else np.float64)
