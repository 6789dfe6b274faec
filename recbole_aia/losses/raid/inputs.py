"""What the barycenter accepts, and in which units it works."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_tau(tau: float) -> None:
    """Raises ValueError unless the entropy penalty is a finite number >= 0."""
    if not (tau >= 0 and math.isfinite(tau)):
        raise ValueError(f"tau is {tau}, expected a finite number >= 0")


def check_options(n_atoms: int, outer_rounds: int, max_iterations: int, batch_size: int | None) -> None:
    """Raises ValueError for a count that is too small; see :func:`penalized_barycenter` for each."""
    for name, value, least in (
        ("n_atoms", n_atoms, 1),
        ("outer_rounds", outer_rounds, 0),
        ("max_iterations", max_iterations, 1),
        ("batch_size", 1 if batch_size is None else batch_size, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")


def checked_samples(samples: Sequence[Tensor]) -> list[Tensor]:
    """The users of each class, detached and in at least single precision; raises ValueError for what cannot be used."""
    if not samples:
        raise ValueError("samples is empty: a barycenter needs at least one class")
    width = samples[0].shape[-1]
    for k, users in enumerate(samples):
        if users.ndim != 2 or users.shape[1] != width or not len(users):
            raise ValueError(f"class {k} has shape {tuple(users.shape)}, expected [N_k, {width}] with N_k >= 1")
        if not torch.isfinite(users).all():
            raise ValueError(f"class {k} holds values that are not finite")
    dtype = torch.promote_types(samples[0].dtype, torch.float32)
    return [users.detach().to(dtype) for users in samples]


def class_shares(class_weights: Tensor | None, users: Sequence[Tensor]) -> Tensor:
    """The classes' weights, normalized, ``lambda [K]``; shares of users where ``None``. Raises ValueError."""
    if class_weights is None:
        class_weights = torch.tensor([float(len(block)) for block in users])
    if class_weights.shape != (len(users),):
        raise ValueError(f"class_weights has shape {tuple(class_weights.shape)}, expected [{len(users)}]")
    shares = class_weights.detach().to(users[0])
    if not (torch.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ValueError("class_weights must be finite, nonnegative and not all zero")
    return shares / shares.sum()


def cost_scale(users: Sequence[Tensor]) -> float:
    r"""Twice the mean squared distance of users to their mean, :math:`\tfrac2N \sum_i \lVert y_i - \bar y \rVert^2`.

    It is 1 where all users are the same point.
    """
    count = sum(len(block) for block in users)
    center = torch.stack([block.sum(0) / count for block in users]).sum(0)
    spread = sum(float((block - center).square().sum(dtype=torch.float64)) for block in users)
    limits = torch.finfo(center.dtype)
    # A spread below this is rounding, of the common center or of numbers close to underflow.
    floor = max(limits.eps**2 * float(center.square().sum()), limits.tiny / limits.eps)
    return 2 * spread / count if spread / count > floor else 1.0
