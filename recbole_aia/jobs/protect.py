"""The job ``protect``: protects user embeddings given as an array, without a model."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.devices import find_device
from recbole_aia.config.types import FloatArray
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import checked_embeddings, encode_labels, label_columns
from recbole_aia.jobs.protection import Protection, as_given
from recbole_aia.losses import EXACT_USERS, FEW_USERS, align_vectors, learn_map, steps_for, transport
from recbole_aia.trainer.chance import checked_discrepancy
from recbole_aia.trainer.posteriors import learn_posteriors, reliability

_STEPS = 100  # steps of the descent
_STEP_USERS = 120_000  # users times steps for more than FEW_USERS users with own labels: one to two seconds
_TRANSPORT_USERS = 10_000  # above this many users classes are transported first: moments then have little noise
_SILENT = 0.01  # from this share on, zeros are a tower's silent units: there is no transport, which would fill them


def protect(
    embeddings: Any,
    labels: Any,
    *,
    calibrated_labels: str = "posterior",
    activity: Any = None,
    max_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> FloatArray:
    """Moves user embeddings until they say nothing of the users' classes, by statistics and by our attackers.

    The function needs no model and no interactions. Everybody is protected, with a label or without: one map, learned
    from all labels, moves every user by the user's vector alone. The map has few weights, so that it holds little of
    any single label: whoever also has the old vectors learns little more than these tell. Use
    :func:`learn_protection` to keep the map for users who come later.

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
            these, or a DataFrame. -1, None, NaN and "" mean "not known". 20 labels of an attribute are the least; more
            protect better. If an attribute has four or more classes, their order is hidden too. Text is in natural
            order ("5-9" before "10-19"); give the numbers 0, 1, 2, ... for another order.
        calibrated_labels: ``posterior``, or ``own``: users move by their own labels. That costs recommendations less,
            but the difference of old and new vectors gives the labels away, and users without a label stay.
        activity: number of interactions of each user, ``[n_users]``, if it may be known to attackers. Above 2,048 users
            classes are then brought to chance in each third of activity, too; not with ``own``.
        max_steps: most steps of the descent, >= 0. ``None`` takes 100 for up to 64 dimensions, and more in proportion.
            With ``own`` it takes fewer for more than 2,048 users, so that they take one to two seconds.
        seed: the seed of folds, random features and random groups, >= 0.
        device: where torch computes: ``cpu``, ``cuda`` or ``cuda:<number>``; ``auto`` takes a GPU if torch sees one.

    Returns:
        The protected embeddings, ``[n_users, d]``, with the type of ``embeddings`` if it is a floating type, otherwise
        float64.

    Raises:
        AttributeDataError: embeddings or labels cannot be used, or there are too few labels.
        ConfigValueError: an argument has a value that is not allowed.
    """
    if calibrated_labels not in ("posterior", "own"):
        raise ConfigValueError(f"calibrated_labels is {calibrated_labels!r}. It must be posterior or own.")
    if calibrated_labels == "posterior":
        return learn_protection(embeddings, labels, activity=activity, max_steps=max_steps, seed=seed, device=device)[0]
    given = _checked(embeddings, labels, max_steps, seed, device)
    near, known, silent = given.near, given.labels, given.silent
    many = len(near) > _TRANSPORT_USERS and float(silent.float().mean()) < _SILENT
    start = transport(near, known, seed) if many else near
    exact_users = FEW_USERS if max_steps is None else EXACT_USERS
    discrepancy = checked_discrepancy(near, known, given.names, seed=seed, exact_users=exact_users)
    if max_steps is None:
        few = len(near) <= FEW_USERS
        max_steps = steps_for(near.shape[1], _STEPS if few else max(1, _STEP_USERS // len(near)))
    moved = align_vectors(start, discrepancy, max_steps, silent, judged=False)[0]
    return given.placed(moved)


def learn_protection(
    embeddings: Any,
    labels: Any,
    *,
    activity: Any = None,
    max_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> tuple[FloatArray, Protection]:
    """Protects user embeddings as :func:`protect` does, and returns what protects users who come later.

    Example:
        >>> import numpy as np
        >>> from recbole_aia import learn_protection
        >>> rng = np.random.default_rng(0)
        >>> gender = rng.integers(0, 2, 100)
        >>> embeddings = rng.normal(size=(100, 8)) + gender[:, None]
        >>> protected, protection = learn_protection(embeddings, {"gender": gender})
        >>> protection.transform(rng.normal(size=(5, 8))).shape
        (5, 8)

    Args:
        embeddings: see :func:`protect`.
        labels: see :func:`protect`.
        activity: see :func:`protect`.
        max_steps: see :func:`protect`.
        seed: see :func:`protect`.
        device: see :func:`protect`.

    Returns:
        The protected embeddings, and the :class:`Protection`.
    """
    given = _checked(embeddings, labels, max_steps, seed, device)
    near, known = given.near, given.labels
    posteriors = learn_posteriors(near, known, given.names, seed)
    steps = steps_for(near.shape[1], _STEPS) if max_steps is None else max_steps
    levels = None if activity is None else _counts(activity, len(near))
    moved, outcome, learned = learn_map(near, posteriors, known, steps, silent=given.silent, activity=levels, seed=seed)
    report = {
        "attributes": reliability(posteriors, known, given.names),
        "statistics": [outcome.before, outcome.after],
    }
    protection = Protection(learned.to("cpu"), given.center.cpu().numpy(), report)
    return given.placed(moved), protection


class _Given:
    """Users as they were given, on the device where they are protected.

    Args:
        embeddings: ``[n, d]``, as :func:`protect` takes them.
        device: where torch computes.

    Attributes:
        labels: ``[n, A]``, -1 for not known.
        names: of the attributes.
        center: mean of the embeddings, ``[d]``, in double precision.
        near: the embeddings less their mean, ``[n, d]``, in single precision.
        silent: which entries are exactly zero, ``[n, d]``.
        alike: whether all users are the same vector.
    """

    labels: Tensor
    names: list[str]

    def __init__(self, embeddings: Any, device: torch.device) -> None:
        self._embeddings, self._points = embeddings, _points(embeddings, device)
        self.center = self._points.mean(0)
        self.near, self.silent = (self._points - self.center).float(), self._points == 0
        self.alike = bool((self._points == self._points[0]).all())

    def placed(self, moved: Tensor) -> FloatArray:
        """The embeddings of users who went from ``near`` to ``moved [n, d]``: moves are added in double precision."""
        placed = self._points + (moved - self.near).double()
        if np.asarray(self._embeddings).dtype == np.float32:
            placed = placed.float()
        return as_given(self._embeddings, placed.cpu().numpy())


def _points(embeddings: Any, device: torch.device) -> Tensor:
    """Embeddings on the device, ``[n, d]``, in double precision."""
    array = np.asarray(embeddings)
    if device.type != "cpu" and array.ndim == 2 and array.dtype in (np.float32, np.float64):
        # A GPU looks for what is not finite in no time, and half as many bytes reach it.
        points = torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device).double()
        if points.numel() and points.isfinite().all():
            return points
    return torch.from_numpy(checked_embeddings(embeddings)).to(device)


def _checked(embeddings: Any, labels: Any, max_steps: Any, seed: Any, device: str) -> _Given:
    for name, value in (("max_steps", 0 if max_steps is None else max_steps), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise ConfigValueError(f"{name} is {value!r}. It must be a whole number >= 0.")
    given, columns = _Given(embeddings, find_device(device)), label_columns(labels)
    n_users = len(given.near)
    if not columns:
        raise AttributeDataError("there are no labels. Give at least one attribute to hide.")
    codes = np.full((n_users, len(columns)), -1)
    for a, (name, column) in enumerate(columns.items()):
        advice = "Give labels of two classes, or leave it out of labels: there is nothing to hide."
        attribute = encode_labels(name, column, n_users, folds=1, advice=advice)
        codes[attribute.users, a] = attribute.codes
    if given.alike:
        raise AttributeDataError(
            f"the embeddings of all {n_users} users are the same vector. Give embeddings that differ between users."
        )
    given.labels, given.names = torch.from_numpy(codes).to(given.near.device), list(columns)
    return given


def _counts(activity: Any, n_users: int) -> Tensor:
    """The activity of each user, ``[n]``."""
    try:
        counts = np.asarray(activity, dtype=np.float64)
    except (TypeError, ValueError):
        counts = np.full(1, np.nan)
    if counts.shape != (n_users,) or not np.isfinite(counts).all():
        raise AttributeDataError(f"activity must be {n_users} numbers, one for each user.")
    return torch.from_numpy(counts)
