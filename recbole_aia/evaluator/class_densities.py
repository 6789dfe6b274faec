"""How the users of each class lie along the direction that tells most about an attribute."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbole_aia.config.small import SHOWN_FROM
from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.draws import draw_users
from recbole_aia.evaluator.labels import AttackedAttribute
from recbole_aia.evaluator.metrics import one_vs_rest_auc

_MOST_USERS = 20_000  # more users would not change a curve that can be seen
_ENDS, _POINTS = 4.0, 65  # the grid, in standard deviations of all users
_PENALTIES = np.logspace(-1, 5, 7)  # of the squared weights; leave-one-out errors choose
_LEAST_BANDWIDTH = 0.3  # standard deviations: narrower bumps would show single users
_PLACES = 3  # digits of a density


def class_densities(embeddings: FloatArray, attribute: AttackedAttribute, fold_of: IntArray) -> dict[str, Any]:
    r"""Densities of held-out scores along the direction that tells one class from the rest best.

    The direction is a ridge regression's on the classes, which is Fisher's discriminant with a penalty. A user's score
    comes from the users of the other folds. So classes stand apart only as far as they do for users never seen. Scores
    of each fold are centred and scaled by themselves, because each fold has a direction of its own.

    No single user can be read off: a class's density is a sum of Gaussians of bandwidth
    :math:`h = \max(0.3,\, 1.06\, s\, n^{-1/5})`, its outermost four users on each side are moved to the fifth, the grid
    is the same for everybody, values are rounded, and classes of fewer than five users are left out.

    Args:
        embeddings: ``[n_users, d]``.
        attribute: the attacked users and their classes.
        fold_of: the fold that holds out each attacked user, ``[n]``.

    Returns:
        ``told``, the class whose users have the higher scores; ``auc``, how well held-out scores tell it from the rest,
        in [0, 1]; ``grid``, the scores at which there are values, in standard deviations of all users; and for each of
        the ``classes`` its ``n_users``, ``bandwidth``, ``mean`` score and ``density`` at the grid.

    Source:
        Silverman (1986), Density estimation, eq. 3.28, for the bandwidth.
    """
    drawn = draw_users(attribute.codes, max(_MOST_USERS, 50 * len(attribute.class_names)), seed=0)
    codes, folds = attribute.codes[drawn], fold_of[drawn]
    scores, auc = _held_out(embeddings[attribute.users[drawn]], codes, folds)
    # Two classes mirror each other, and the later one is told.
    told = 1 if len(auc) == 2 else int(np.abs(auc - 0.5).argmax())
    grid, classes = np.linspace(-_ENDS, _ENDS, _POINTS), {}
    for k, name in enumerate(attribute.class_names):
        members = scores[codes == k, told]
        if len(members) >= SHOWN_FROM:
            classes[name] = {"n_users": int((attribute.codes == k).sum()), **_density(members, grid)}
    return {
        "told": attribute.class_names[told],
        "auc": round(float(auc[told]), _PLACES),
        "grid": grid.tolist(),
        "classes": classes,
    }


def _held_out(points: FloatArray, codes: IntArray, fold_of: IntArray) -> tuple[FloatArray, FloatArray]:
    """Standardised held-out scores ``[n, K]``, and the mean of their AUCs inside the folds, ``[K]``."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    targets = (codes[:, None] == np.arange(codes.max() + 1)).astype(float)
    scores, auc = np.empty_like(targets), []
    for fold in np.unique(fold_of):
        inside = fold_of == fold
        model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
        found = model.fit(points[~inside], targets[~inside]).predict(points[inside])
        auc.append(one_vs_rest_auc(codes[inside], found))
        spread = found.std(axis=0)
        scores[inside] = (found - found.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scores, np.nanmean(auc, axis=0)


def _density(members: FloatArray, grid: FloatArray) -> dict[str, Any]:
    """The density of a class at the grid, from the scores of at least five users."""
    ordered, place = np.sort(members), min(SHOWN_FROM, (len(members) + 1) // 2) - 1
    kept = np.clip(members, ordered[place], ordered[-1 - place])
    bandwidth = max(_LEAST_BANDWIDTH, 1.06 * float(members.std()) * len(members) ** -0.2)
    bumps = np.exp(-0.5 * ((grid[:, None] - kept) / bandwidth) ** 2).mean(axis=1) / (bandwidth * np.sqrt(2 * np.pi))
    return {
        "bandwidth": round(bandwidth, _PLACES),
        "mean": round(float(kept.mean()), _PLACES),
        "density": bumps.round(_PLACES).tolist(),
    }
