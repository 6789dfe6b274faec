"""Which users are attacked, and which of the known ones an attacker learns from."""

from __future__ import annotations

import numpy as np

from recbole_aia.config.types import BoolArray, IntArray

_LEAST_OF_A_CLASS = 50  # members that a class keeps when users are drawn, if it has so many
_LEAST_LEAKED = 2  # known members that every class has, if two are outside the fold; a classifier needs them


def draw_users(classes: IntArray, limit: int | None, seed: int) -> IntArray:
    """Draws users to learn from, each class in proportion but none below 50 members if it has them.

    Args:
        classes: in ``0..K-1``, ``[n]``.
        limit: users to draw, >= 50 K; ``None`` for all.
        seed: >= 0.

    Returns:
        Their positions, ascending; all where ``n <= limit``.
    """
    if limit is None or len(classes) <= limit:
        return np.arange(len(classes))
    counts = np.bincount(classes)
    quotas = np.maximum(counts * limit // len(classes), np.minimum(counts, _LEAST_OF_A_CLASS))
    quotas[counts.argmax()] -= max(0, int(quotas.sum()) - limit)
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(np.flatnonzero(classes == k), quota, replace=False) for k, quota in enumerate(quotas)]
    return np.sort(np.concatenate(drawn))


def equal_classes(classes: IntArray, seed: int) -> IntArray:
    """Draws as many users of each class as the smallest class has.

    Args:
        classes: in ``0..K-1``, each with a member, ``[n]``.
        seed: >= 0.

    Returns:
        Their positions, ascending.
    """
    rng, counts = np.random.default_rng(seed), np.bincount(classes)
    drawn = [rng.choice(np.flatnonzero(classes == k), counts.min(), replace=False) for k in range(len(counts))]
    return np.sort(np.concatenate(drawn))


def leaked_users(classes: IntArray, known: BoolArray, ratio: float, seed: int) -> IntArray:
    """Draws the users whose attribute the attacker knows: an equal share of every class, rounded up.

    With one seed, the users drawn at a smaller ratio are among the users drawn at a larger one.

    Args:
        classes: of all users that are attacked, ``[n]``, in ``0..K-1``.
        known: who is outside the fold, ``[n]``.
        ratio: share of all users, in (0, 1); where fewer are outside the fold, all of these are drawn.
        seed: >= 0.

    Returns:
        Their positions, ascending; at least two of each class where two are known.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for k, count in enumerate(np.bincount(classes)):
        members = rng.permutation(np.flatnonzero(known & (classes == k)))
        # A ratio such as 0.8 times 1,000 must not become 801 by rounding.
        drawn.append(members[: max(_LEAST_LEAKED, int(np.ceil(ratio * count - 1e-9)))])
    return np.sort(np.concatenate(drawn))
