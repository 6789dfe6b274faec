"""What informed attackers see: the movement from an earlier release to the next, and vectors together with activity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recbole_aia.config.types import FloatArray, IntArray

#: The old vectors alone, with which the views of the movement are compared.
OLD = "old"
#: What old and new vectors tell together.
DIFFERENCE, SIDE_BY_SIDE = "difference", "old_and_new"
#: The longest components of the movement, and what of them no curve in the old vectors explains.
UNEXPLAINED = "unexplained"
#: Vectors together with activity, and the activity alone, with which they are compared.
ACTIVITY, ACTIVITY_ALONE = "activity", "activity_alone"

_COMPONENTS = 5  # longest axes of the difference that an attacker without labels looks at
_CURVE = 5  # degree of the curve that a component of the movement follows
_TURNED = 0.7  # spaces differ where a rotation and a scale leave less than this share of the distance
_NOTHING = 1e-6  # a difference below this share of the new vectors' length is rounding


class Views(NamedTuple):
    """What informed attackers see, ``[n, d]`` by name, and how it was made."""

    arrays: dict[str, FloatArray]
    notes: list[str]


def informed_views(vectors: FloatArray, earlier: Sequence[FloatArray] = (), activity: IntArray | None = None) -> Views:
    """The views of informed attackers.

    Args:
        vectors: the new vectors, ``[n, d]``.
        earlier: earlier releases of the same users in the same order, ``[n, d']`` each.
        activity: number of interactions of each user, ``[n]``, >= 0.

    Returns:
        With earlier releases: ``old``, these alone, side by side; ``difference``, see :func:`movement`, and
        ``unexplained``, see :func:`unexplained`, and both with ``_2``, ``_3``, ... to further releases;
        ``old_and_new``, side by side. With activity: ``activity``, standardised vectors, their products with
        the standardised log-activity, and the log-activity; and ``activity_alone``. Notes say where a difference is no
        plain one, see :func:`movement`.
    """
    arrays, notes = {}, []
    if earlier:
        arrays[OLD] = np.hstack([*earlier])
        for number, old in enumerate(earlier, start=1):
            end = "" if number == 1 else f"_{number}"
            moved, note = movement(old, vectors)
            notes += [f"{DIFFERENCE}{end}: {note}"] if note else []
            arrays[f"{DIFFERENCE}{end}"], arrays[f"{UNEXPLAINED}{end}"] = moved, unexplained(old, moved)
        arrays[SIDE_BY_SIDE] = np.hstack([*earlier, vectors])
    if activity is not None:
        level = _standardized(np.log1p(np.asarray(activity, dtype=np.float64))[:, None])
        scaled = _standardized(vectors)
        arrays[ACTIVITY] = np.hstack([scaled, _standardized(scaled * level), level])
        arrays[ACTIVITY_ALONE] = level
    return Views(arrays, notes)


def movement(old: FloatArray, new: FloatArray) -> tuple[FloatArray, str]:
    """How each user has moved from one release to the next, up to a shift that all users share.

    Two releases of one model lie in one space, and the movement is their difference. A model that was trained again
    has another space of the same width: the old vectors are first turned and scaled towards the new ones (orthogonal
    Procrustes), if this leaves far less of the distance. Between widths that differ, the movement is the residual of
    the least-squares map from old to new.

    Args:
        old: ``[n, d']``.
        new: ``[n, d]``, the same users in the same order.

    Returns:
        The movement, ``[n, d]``, exactly 0 where it is no more than rounding; and what was done, "" for a plain
        difference.

    Source:
        Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    """
    before, after = old - old.mean(axis=0), new - new.mean(axis=0)
    note = ""
    if before.shape[1] != after.shape[1]:
        moved = after - before @ np.linalg.lstsq(before, after, rcond=None)[0]
        note = "widths differ, so it is what a linear map of the old vectors leaves of the new ones"
    else:
        moved = after - before
        left, scales, right = np.linalg.svd(before.T @ after)
        turned = after - before @ (left @ right) * (scales.sum() / max(float((before**2).sum()), 1e-300))
        if np.linalg.norm(turned) < _TURNED * np.linalg.norm(moved):
            moved, note = turned, "the spaces differ, so the old vectors were turned and scaled towards the new ones"
    if np.linalg.norm(moved) <= _NOTHING * np.linalg.norm(after):
        moved = np.zeros_like(after)
    return moved, note


def unexplained(old: FloatArray, moved: FloatArray) -> FloatArray:
    """The longest components of a movement, and how far each user is from where the old vector alone would lead.

    A defense that learns from labels has seen a user's label or has left it out, and either shows in how far the user
    moves: leaving a user out (cross-fitting) changes what is learned a little, and against the label. So each
    component is fitted by a linear map of the old vectors and a curve in it, and the residual is kept. No label is
    needed for any of it.

    Args:
        old: ``[n, d']``.
        moved: the movement from these, ``[n, d]``.

    Returns:
        Standardised, ``[n, 2 c]`` with ``c`` components, 5 or fewer: the components, then their residuals.
    """
    left, lengths, _ = np.linalg.svd(moved - moved.mean(axis=0), full_matrices=False)
    components = (left * np.where(lengths > _NOTHING * lengths[0], lengths, 0.0))[:, :_COMPONENTS]
    known = np.hstack([old - old.mean(axis=0), np.ones((len(old), 1))])
    lines = _standardized(known @ np.linalg.lstsq(known, components, rcond=None)[0])
    rests = np.empty_like(components)
    for rest, component, line in zip(rests.T, components.T, lines.T, strict=True):
        curve = np.vander(line, _CURVE + 1)
        rest[:] = component - curve @ np.linalg.lstsq(curve, component, rcond=None)[0]
    rests[:, np.linalg.norm(rests, axis=0) <= _NOTHING * np.linalg.norm(components, axis=0)] = 0
    return _standardized(np.hstack([components, rests]))


def _standardized(columns: FloatArray) -> FloatArray:
    """Columns with mean 0 and deviation 1; constant columns become 0."""
    spread = columns.std(axis=0)
    varies = spread > _NOTHING * np.abs(columns).max(axis=0)
    scaled: FloatArray = np.where(varies, (columns - columns.mean(axis=0)) / np.where(varies, spread, 1.0), 0.0)
    return scaled
