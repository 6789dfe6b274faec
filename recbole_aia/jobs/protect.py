"""The job ``protect``: aligns user embeddings given as an array, without a model."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch

from recbole_aia.config.types import FloatArray
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import checked_embeddings, encode_labels, label_columns
from recbole_aia.losses import EXACT_USERS, FEW_USERS, align_vectors, steps_for, transport
from recbole_aia.trainer.chance import checked_discrepancy

_STEPS = 100  # steps of the descent for up to FEW_USERS users
_LEAST_STEPS = 1  # least steps of the descent for more users
_STEP_USERS = 120_000  # users times steps for more users; this takes one to two seconds on two cores
_TRANSPORT_USERS = 10_000  # above this many users classes are transported first: moments then have little noise
_SILENT = 0.01  # from this share on, zeros are a tower's silent units: there is no transport, which would fill them


def protect(embeddings: Any, labels: Any, *, max_steps: int | None = None, seed: int = 0) -> FloatArray:
    """Moves user embeddings until the statistics of :class:`~recbole_aia.losses.ClassDiscrepancy` are at chance.

    The function needs no model and no interactions. Few users are moved by a descent alone
    (:func:`~recbole_aia.losses.align`). For many users a transport in closed form moves the classes first
    (:func:`~recbole_aia.losses.transport`).

    Attackers who see only the new vectors are at chance or close to it in our measurements (``docs/results.md``).
    Whoever also has the old vectors reads the labels. Users without a label are not protected.

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
        labels: one value for each user: an array, list or Series; or several attributes: a mapping from names to
            these, or a DataFrame. -1, None, NaN and "" mean "not known", and such users do not move for the attribute.
            If an attribute has four or more classes, their order is hidden too. Text is in natural order ("5-9" before
            "10-19"); give the numbers 0, 1, 2, ... for another order.
        max_steps: most steps of the descent, >= 0. ``None`` takes one to two seconds for 64 dimensions: 100 steps for
            up to 2,048 users, and fewer for more users (one for a million), who are compared by random features. More
            dimensions take more steps in proportion. If ``max_steps`` is given, up to 10,000 users are compared pair
            by pair: 100 steps for 64 dimensions, as ``--defense=calibrated`` takes, come closer to chance in some
            minutes.
        seed: the seed of random features and random groups, >= 0.

    Returns:
        The protected embeddings, ``[n_users, d]``, with the type of ``embeddings`` if it is a floating type, otherwise
        float64.

    Raises:
        AttributeDataError: embeddings or labels cannot be used, or no class of an attribute has two members and two
            users outside it.
        ConfigValueError: ``max_steps`` or ``seed`` is no whole number >= 0.
    """
    for name, value in (("max_steps", 0 if max_steps is None else max_steps), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
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
    # The alignment runs in single precision around the mean. Only the moves are added back, in double precision, so
    # that users who do not move stay exactly the same.
    center, silent = users.mean(0), users == 0
    near = (users - center).float()
    many = len(users) > _TRANSPORT_USERS and float(silent.float().mean()) < _SILENT
    start = transport(near, known, seed) if many else near
    exact_users = FEW_USERS if max_steps is None else EXACT_USERS
    discrepancy = checked_discrepancy(near, known, list(columns), seed=seed, exact_users=exact_users)
    if max_steps is None:
        few = len(users) <= FEW_USERS
        max_steps = steps_for(users.shape[1], _STEPS if few else max(_LEAST_STEPS, _STEP_USERS // len(users)))
    moved = align_vectors(start, discrepancy, max_steps, silent, judged=False)[0]
    protected = (users + (moved - near).double()).numpy()
    given = np.asarray(embeddings).dtype
    return protected.astype(given if np.issubdtype(given, np.floating) else np.float64)
