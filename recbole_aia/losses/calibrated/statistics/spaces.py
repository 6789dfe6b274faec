"""The spaces in which users are compared: standardized, white, in between, and as they were given."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

N_FREQUENCIES = 64  # F, random Fourier features of a Gaussian kernel
_FLOOR = 0.01  # whitening stretches no axis further than if its eigenvalue were this share of the mean eigenvalue
_LONG = 0.75  # the long axes are the fewest that hold this share of the variance
_BAND = 8  # axes in the first band of white axes; each next band has as many as all before it
_EMPTY = 1e-6  # an axis of a smaller eigenvalue, relative to their mean, is empty: only rounding moves users along it
_RIDGES = (1.0, 0.1)  # what is added to eigenvalues between standardized and white, as shares of the mean eigenvalue

SpaceKind = Literal["standardized", "white", "long axes", "band", "raw", "ridge", "read axes"]


@dataclass(frozen=True, eq=False)
class Space:
    r"""A space in which users are compared: a user x is :math:`B^\top x` in it.

    Attributes:
        kind: decides which statistics are taken here.
        name: how the statistics of this space are called.
        basis: :math:`B`, ``[d, k]``, of standardized users.
        frequencies: of random Fourier features, ``[k, F]``: normal numbers of variance 1/k; empty in a ridge space.
    """

    kind: SpaceKind
    name: str
    basis: Tensor
    frequencies: Tensor

    @property
    def width(self) -> int:
        """Its dimensions, k."""
        return self.basis.shape[1]


def spaces(users: Tensor, scale: Tensor, generator: torch.Generator) -> list[Space]:
    r"""The spaces of standardized users, from the eigenvectors V and eigenvalues :math:`\ell` of their covariance.

    - **standardized**: the users' own dimensions, :math:`B = I`.
    - **white**: axes that all users spread along alike, :math:`B = V \ell^{-1/2}`, but for the shortest.
    - **long axes**: the white axes of the largest eigenvalues, which together hold 0.75 of the variance. Over all axes,
      the short ones make up for what the long ones tell.
    - **band**: groups of white axes from the longest on, for the same reason; none where there are 8 axes or fewer.
    - **raw**: users as they were given, for attackers who do not standardize.
    - **ridge**: between standardized and white, :math:`B = V (\ell + \rho \bar\ell)^{-1/2}`; in double precision.

    Args:
        users: standardized, ``[n, d]``.
        scale: the standard deviations that they had before, ``[d]``.
        generator: of the frequencies.

    Source:
        Ours.
    """
    width = users.shape[1]
    values, vectors = torch.linalg.eigh(users.double().t().cov(correction=0).view(width, width))
    values, vectors = values.flip(0), vectors.flip(1)
    mean = values.mean()
    white = vectors * values.clamp_min(_FLOOR * float(mean)).rsqrt()
    long = values.cumsum(0) - values < _LONG * values.sum()
    units = scale.double() / scale.max()
    found: list[tuple[SpaceKind, str, Tensor]] = [
        ("standardized", "standardized", torch.eye(width)),
        ("white", "white", white),
        ("long axes", "white, long axes", white[:, long]),
        *(("band", f"white, axes {a + 1}-{b}", white[:, a:b]) for a, b in _bands(int((values > _EMPTY * mean).sum()))),
        ("raw", "raw", torch.diag(units / units.square().mean().sqrt())),
    ]
    # A space has its frequencies whether its statistics use them or not, so that the users who are drawn from the same
    # generator afterwards do not depend on the table.
    compared = [_space(kind, name, basis.to(users), generator) for kind, name, basis in found]
    ridges = ((f"ridge {ridge:g}", vectors * (values + ridge * mean).rsqrt()) for ridge in _RIDGES)
    return compared + [Space("ridge", name, basis, basis.new_empty(width, 0)) for name, basis in ridges]


def read_axes(users: Tensor, weights: Tensor, generator: torch.Generator) -> Space:
    r"""The space of what linear attackers read: the best linear predictors of ``weights [C, n]``, made white.

    An attacker who knows the defense looks there. The full space hides what is left along these few axes among all
    others.

    Args:
        users: standardized, ``[n, d]``.
        weights: what is predicted, such as centred posteriors, ``[C, n]``.
        generator: of the frequencies.
    """
    points, targets = users.double(), weights.double().t()
    centered = points - points.mean(0)
    ridge = _FLOOR * centered.square().sum(0).mean() * torch.eye(users.shape[1]).to(centered)
    directions = torch.linalg.solve(centered.t() @ centered + ridge, centered.t() @ targets)
    values, vectors = torch.linalg.eigh((centered @ directions).t().cov(correction=0).view(len(weights), -1))
    kept = values > _EMPTY * values.max()
    basis = directions @ vectors[:, kept] * values[kept].rsqrt()
    return _space("read axes", "read axes", basis.to(users), generator)


def _space(kind: SpaceKind, name: str, basis: Tensor, generator: torch.Generator) -> Space:
    width = basis.shape[1]
    return Space(kind, name, basis, torch.randn(width, N_FREQUENCIES, generator=generator).to(basis) / width**0.5)


def _bands(rank: int) -> list[tuple[int, int]]:
    """The first axis of each band, and the one after its last."""
    if rank <= _BAND:
        return []
    return list(itertools.pairwise([0, *(_BAND << i for i in range(rank) if _BAND << i < rank), rank]))
