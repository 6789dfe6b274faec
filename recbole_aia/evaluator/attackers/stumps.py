"""The splits of boosted stumps, where torch computes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.types import BoolArray, FloatArray, IntArray

Stump = tuple[int, float, int, int, float]


@torch.no_grad()
def stumps_on_device(
    values: FloatArray,
    classes: IntArray,
    weights: FloatArray,
    order: IntArray,
    splits: BoolArray,
    rounds: int,
    device: str,
) -> list[Stump]:
    """The stumps of :class:`~recbole_aia.evaluator.attackers.boosting.BoostedStumps`.

    The host reads nothing between two rounds: rounds after the one that ends the boosting are thrown away at the end.

    Args:
        values: ``[n, d]``.
        classes: in ``0..K-1``, ``[n]``.
        weights: of users, ``[n]``; they add up to 1.
        order: users by ascending value, ``[d, n]``.
        splits: whether a user's value is lower than the next one's, ``[d, n - 1]``.
        rounds: most stumps.
        device: where torch computes.

    Returns:
        Of each stump the dimension, the threshold, the classes left and right of it, and its vote.
    """
    points, codes, mass, users, closed = (
        torch.as_tensor(each, device=device) for each in (values, classes, weights, order, ~splits)
    )
    n_classes = int(classes.max()) + 1
    indicators = torch.nn.functional.one_hot(codes, n_classes).t().to(mass)
    found = list[Tensor]()
    for _ in range(rounds):
        own = indicators * mass
        left, total = own[:, users[:, :-1]].cumsum(2), own.sum(1).view(-1, 1, 1)
        purity = (_purity(left) + _purity(total - left)).masked_fill(closed, -torch.inf)
        best = purity.flatten().argmax(0, keepdim=True)
        dimension, place = best // purity.shape[1], best % purity.shape[1]
        below = left.flatten(1).index_select(1, best).squeeze(1)
        column, row = points.index_select(1, dimension).squeeze(1), users.index_select(0, dimension).squeeze(0)
        threshold = column[row[torch.cat([place, place + 1])]].double().mean()
        says_left, says_right = below.argmax(), (total.flatten() - below).argmax()
        said = torch.where(column <= threshold, says_left, says_right)
        wrong = said != codes
        error = (mass * wrong).sum()
        vote = ((1 - error) / error).log() + float(np.log(n_classes - 1))
        found.append(torch.stack([dimension.squeeze(0), threshold, says_left, says_right, vote, error]))
        mass = mass * torch.exp(vote * wrong)
        mass = mass / mass.sum()
    stumps = list[Stump]()
    for dimension, threshold, below, above, vote, error in torch.stack(found).tolist():
        if not error < 1 - 1 / n_classes:
            break
        stumps.append((int(dimension), threshold, int(below), int(above), 1.0 if error <= 0 else vote))
        if error <= 0:
            break
    return stumps


def _purity(side: Tensor) -> Tensor:
    """What a side of each split adds to its worth, from the weight ``[K, d, n - 1]`` of each class there."""
    return side.square().sum(0) / side.sum(0).clamp_min(torch.finfo(side.dtype).tiny)
