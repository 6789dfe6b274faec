"""Kernels between users, each a product of sums over groups or computed between all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.gaussian_sums import gaussian_sums

# Bandwidths of Gaussian kernels, in units of d, half the mean squared distance of two users, each half the one before.
_BANDWIDTHS = (2.0, 1.0, 0.5)
_FINE = (0.25, 0.125)  # what forests see; random features are too coarse for these
_FREQUENCIES = 64  # random Fourier features of a Gaussian kernel
# Soft steps along single dimensions, up beyond t and down before -t. Each t is a kernel of its own: in a sum of them
# the middle makes up for the tails, and trees see the tails.
_STEPS = (0.0, 0.8, 1.6, 2.4)
_SLOPE = 4.0
_FLOOR = 0.01  # smallest eigenvalue that is whitened, relative to their mean
_LONG = 0.75  # of the variance is along the long axes: on all axes together the short ones make up for what these tell
STANDARDIZED = "standardized"
_BAND = 8  # axes in the first band of white axes; each next one has as many as all before it
_EMPTY = 1e-6  # eigenvalue of an axis that only rounding moves users along, relative to their mean
_RIDGES = (1.0, 0.1)  # of bases between the two, for the linear kernel: shares of the mean eigenvalue


class Metric:
    """A basis ``[d, k]`` in which users are compared, and the kernels in that basis.

    Args:
        name: of the basis; steps are taken along the axes of the ``standardized`` one, which are the users' own.
        basis: ``[d, k]``.
        exact: whether Gaussian kernels are; ``None`` where there are none.
        generator: of random features.
    """

    def __init__(self, name: str, basis: Tensor, exact: bool | None, generator: torch.Generator) -> None:
        width = basis.shape[1]
        self.basis, self.exact = basis, exact
        self._thresholds = _STEPS if name == STANDARDIZED else ()
        bandwidths = () if exact is None else (*_BANDWIDTHS, *(_FINE if exact else ()))
        gaussians = [f"Gaussian {b:g}" for b in bandwidths]
        kernels = ["linear", "quadratic", "squares", *gaussians, *(f"steps {t:g}" for t in self._thresholds)]
        #: Of all kernels, in their order.
        self.names = [f"{name} {kernel}" for kernel in kernels]
        self._frequencies = torch.randn(width, _FREQUENCIES, generator=generator).to(basis) / width**0.5
        waves = [2 * _FREQUENCIES] * len(_BANDWIDTHS) if exact is False else []
        self._widths = [*waves, *(width * (2 if t else 1) for t in self._thresholds)]
        #: The second extent of :meth:`features`.
        self.width = 2 + sum(width + 1 for width in self._widths)

    def _waves(self, turned: Tensor) -> Iterator[list[Tensor]]:
        """The random features of each Gaussian kernel; their squares add up to the number of frequencies."""
        if self.exact is not False:
            return
        phases = turned @ self._frequencies
        for b in _BANDWIDTHS:
            yield [(phases / b**0.5).cos(), (phases / b**0.5).sin()]

    def _steps(self, turned: Tensor) -> Iterator[list[Tensor]]:
        for t in self._thresholds:
            up = ((turned - t) * _SLOPE).sigmoid()
            yield [up, ((turned + t) * -_SLOPE).sigmoid()] if t else [up]

    def features(self, users: Tensor, members: Tensor) -> Tensor:
        r"""Sums over groups ``[G, n]`` of features ``[n, D]``: ``[G, 2 + D + S]``.

        First stand the sums of the quadratic kernel of a user and itself, and of that of squares. Then, for each of the
        S other kernels that are products of features, those of its features and of the kernel of a user and itself.
        """
        turned = users @ self.basis
        squares = turned.square()
        sums = [members @ squares.sum(1, keepdim=True).square(), members @ squares.square().sum(1, keepdim=True)]
        for wave in self._waves(turned):
            sums += [*(members @ part for part in wave), _FREQUENCIES * members.sum(1, keepdim=True)]
        for step in self._steps(turned):
            own = torch.stack([(members @ part.square()).sum(1) for part in step]).sum(0)
            sums += [*(members @ part for part in step), own.unsqueeze(1)]
        return torch.cat(sums, dim=1)

    def kernels(
        self, firsts: Tensor, seconds: Tensor, features: Tensor, gaussians: Sequence[tuple[Tensor, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every kernel: sums over pairs of users of two groups ``[G, G]``, and those over users and themselves.

        Args:
            firsts: sums of users, ``[G, d]``.
            seconds: sums of their squares, ``[G, d, d]``.
            features: of :meth:`features`.
            gaussians: these two of exact Gaussian kernels.
        """
        basis = self.basis.to(firsts)
        fourth, *parts = features.split([2, *(width + 1 for width in self._widths)], dim=1)
        moments = basis.t() @ seconds @ basis
        yield linear(basis, firsts, seconds)
        yield _squared(moments.flatten(1)), fourth[:, 0]
        yield _squared(moments.diagonal(dim1=1, dim2=2)), fourth[:, 1]
        yield from gaussians
        for part in parts:
            yield _squared(part[:, :-1]), part[:, -1]

    def gaussians(self, users: Tensor) -> Iterator[Tensor]:
        r"""The Gaussian kernels :math:`\exp(-|x - y|^2 / 2bd)` between ``users [n, d]``, ``[n, n]``, as b is halved."""
        turned = users @ self.basis
        norms = turned.square().sum(1)
        distances = (norms + norms.unsqueeze(1) - 2 * turned @ turned.t()).clamp_min(0)
        gram = torch.exp(-distances / (2 * _BANDWIDTHS[0] * turned.shape[1]))
        yield gram
        for _ in (*_BANDWIDTHS[1:], *_FINE):
            gram = gram.square()
            yield gram

    def gaussian_sums(self, users: Tensor, members: Tensor) -> Tensor:
        """Sums of :meth:`gaussians` over pairs of groups ``[G, n]``: ``[S, G, G]``."""
        turned, n_bandwidths = users @ self.basis, len(_BANDWIDTHS) + len(_FINE)
        return gaussian_sums(turned, members, n_bandwidths, 2 * _BANDWIDTHS[0] * turned.shape[1])

    def grams(self, users: Tensor) -> Iterator[Tensor]:
        """Every kernel between ``users [n, d]``, in the order of the statistics and in double precision."""
        turned = users @ self.basis
        products = turned.double() @ turned.double().t()
        squares = turned.double().square()
        yield products
        yield products.square()
        yield squares @ squares.t()
        if self.exact:
            yield from (gram.double() for gram in self.gaussians(users))
        for parts in (*self._waves(turned), *self._steps(turned)):
            features = torch.cat(parts, dim=1).double()
            yield features @ features.t()


class Bases(NamedTuple):
    """Bases ``[d, k]`` by name, of users who are standardized.

    White users have all eigenvalues alike but for their smallest.

    Attributes:
        full: of all kernels: standardized users, and white ones on all axes and on the long ones.
        bands: of linear and quadratic kernels and of squares: white users on their axes, band by band from the longest
            on; and users as they were given, for attackers who do not standardize them.
        between: of linear kernels, between standardized and white; the names are the ridges.
    """

    full: dict[str, Tensor]
    bands: dict[str, Tensor]
    between: dict[str, Tensor]


def bases(users: Tensor, scale: Tensor) -> Bases:
    """The bases of users ``[n, d]``, who had standard deviations ``scale [d]``."""
    width = users.shape[1]
    values, vectors = torch.linalg.eigh(users.double().t().cov(correction=0).view(width, width))
    values, vectors = values.flip(0), vectors.flip(1)
    mean = values.mean()
    white = vectors * values.clamp_min(_FLOOR * float(mean)).rsqrt()
    long = values.cumsum(0) - values < _LONG * values.sum()
    full = {STANDARDIZED: torch.eye(width), "white": white, "white, long axes": white[:, long]}
    rank = int((values > _EMPTY * mean).sum())
    edges = [0, *(_BAND << i for i in range(rank) if _BAND << i < rank), rank]
    bands = {f"white, axes {a + 1}-{b}": white[:, a:b] for a, b in itertools.pairwise(edges)} if rank > _BAND else {}
    units = scale.double() / scale.max()
    bands["raw"] = torch.diag(units / units.square().mean().sqrt())
    between = {f"ridge {ridge:g}": vectors * (values + ridge * mean).rsqrt() for ridge in _RIDGES}
    return Bases(
        {name: basis.to(users) for name, basis in full.items()}, {n: b.to(users) for n, b in bands.items()}, between
    )


def linear(basis: Tensor, firsts: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
    """The linear kernel in a basis, see :meth:`Metric.kernels`."""
    return _squared(firsts @ basis), (seconds * (basis @ basis.t())).sum((1, 2))


def _squared(vectors: Tensor) -> Tensor:
    return vectors @ vectors.t()


def spread(kernel: Tensor) -> Tensor:
    r""":math:`(2 \operatorname{mean}_{i \ne j} \tilde K^2)^{1/2}` of a kernel ``[n, n]``, n >= 4, U-centered.

    Source:
        Székely and Rizzo (2014) for the centering.
    """
    n = len(kernel)
    # Shifted, which changes nothing but what rounding leaves of kernels that are nearly constant. No user with itself:
    # one who is far from all others would make up the unit alone.
    pairs = (kernel - (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))).fill_diagonal_(0.0)
    rows = pairs.sum(0)
    squares = torch.dot(pairs.view(-1), pairs.view(-1)) - 2 / (n - 2) * torch.dot(rows, rows)
    return (2 * (squares + rows.sum().square() / ((n - 1) * (n - 2))).clamp_min(0) / (n * (n - 1))).sqrt()
