"""How far classes of users are from random groups of their sizes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_aia.losses._moments import Cells, check_movers, class_moments
from recbole_aia.losses._pairs import gaussian_sums

# Bandwidths of Gaussian kernels, in units of d, half the mean squared distance of two users, each half the one before.
_BANDWIDTHS = (2.0, 1.0, 0.5)
_FINE = (0.25, 0.125)  # what forests see; random features are too coarse for these
_FREQUENCIES = 64  # random Fourier features of a Gaussian kernel
EXACT_USERS = 10_000  # up to which Gaussian kernels are computed between all pairs of users
# Soft steps along single dimensions, up beyond t and down before -t. Each t is a kernel of its own: in a sum of them
# the middle makes up for the tails, and trees see the tails.
_STEPS = (0.0, 0.8, 1.6, 2.4)
_SLOPE = 4.0
_FLOOR = 0.01  # smallest eigenvalue that is whitened, relative to their mean
_RIDGES = (1.0, 0.1)  # of bases between the two, for the linear kernel: shares of the mean eigenvalue
_NULL_USERS = 1024  # drawn for the spread of the statistics under permuted labels
_FEWEST = 5  # members of a class that is judged on its own
_FLAT = 1e-6  # a standard deviation relative to the largest
_MUTE = 1e-9  # a kernel's deviation between users; none of the kernels is of a lower order than 1
_CHUNK = 2048  # users whose features stay in a core's caches
_KEPT = 10_000  # users whose features are kept for the gradient


class ClassDiscrepancy:
    r"""Unbiased squared mean discrepancies of each class from the rest, in standard deviations of permuted labels.

    .. math:: z_{s,k} = \frac{1}{\sigma_{s,k}} \Bigl(
        \operatorname*{mean}_{i \ne j \in k} K_s + \operatorname*{mean}_{i \ne j \notin k} K_s
        - 2 \operatorname*{mean}_{i \in k, j \notin k} K_s \Bigr), \qquad
        \sigma_{s,k}^2 = 2 \Bigl(\tfrac1{n (n - 1)} + \tfrac1{m (m - 1)} + \tfrac2{n m}\Bigr)
        \operatorname*{mean}_{i \ne j} \tilde K_s^2

    with n users in the class and m outside it. Under permuted labels :math:`z` has mean 0 and a standard deviation of
    about 1 (:math:`\sigma` is estimated from 1,024 users at most), whatever the kernel, the class or the number of
    users. Above 0 a class stands apart. Below 0 it has been matched more closely than a random group of its size would
    be: users then look least like those of their own class, which an attacker who knows reads backwards.

    Kernels, each in the basis of standardized dimensions and in that of whitened users: linear (means), quadratic
    (second moments), Gaussian of several bandwidths, and soft steps along single dimensions, in the middle and towards
    the tails; linear ones also in two bases in between. Up to ``exact_users`` users the Gaussian kernels are exact, in
    ``O(n^2 d)``. Above that, they are random Fourier features, without the two finest; a call then costs
    ``O(n d (d + D))`` for D features.

    Args:
        embeddings: where the users are now, ``[n, d]``. Bases, bandwidths and :math:`\sigma` are taken from here: the
            statistics stay the same functions while users move.
        labels: what is to be hidden, ``[n, A]``, integers; negative where there is nothing.
        others: embeddings of users who stay, ``[m, d]``; part of "the rest".
        other_labels: their labels, ``[m, A]``; who has none is not part of that attribute's rest.
        known: the labels of those who move whether they are to be hidden or not, ``[n, A]``; ``labels`` where ``None``.
        seed: of the random features.
        exact_users: up to this many, pairs of users are compared one by one.

    Attributes:
        classes: (attribute, labels) of each column. Classes of fewer than five users are judged together, as one.

    Raises:
        ValueError: shapes disagree, or no class can be told from a rest.

    Source:
        Gretton et al. (2012), eq. 3 for the unbiased estimate; Rahimi and Recht (2007) for the features. That its
        zero under permuted labels is where a defense has to stop is ours.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        *,
        others: Tensor | None = None,
        other_labels: Tensor | None = None,
        known: Tensor | None = None,
        seed: int = 0,
        exact_users: int = EXACT_USERS,
    ) -> None:
        others = embeddings[:0] if others is None else others
        other_labels = labels[:0] if other_labels is None else other_labels
        check_movers(embeddings, labels, others, other_labels)
        everyone = torch.cat([embeddings, others]).detach()
        self.center, self.scale = everyone.mean(0), everyone.std(0)
        if not self.scale.max() > 0:
            raise ValueError("all users are at the same place")
        everyone = self._standardized(everyone)
        moving, self._others = everyone.split([len(embeddings), len(others)])
        generator = torch.Generator().manual_seed(seed)
        exact = len(everyone) <= exact_users
        identity, white, *self._bands = _bases(everyone)
        self._metrics = [_Metric(basis, exact, generator) for basis in (identity, white)]
        self._groups = _Groups(labels, other_labels, known, moving)
        self._staying = self._sums(self._others, self._groups.staying)
        self.classes = self._groups.classes
        drawn = everyone[torch.randperm(len(everyone), generator=generator)[:_NULL_USERS].to(everyone.device)]
        spreads = [_spread(gram) for metric in self._metrics for gram in metric.grams(drawn)]
        spreads += [_spread(turned @ turned.t()) for turned in (drawn.double() @ band for band in self._bands)]
        sizes = torch.stack(spreads)
        # A kernel that is the same between all users, as the quadratic one of signs is, has nothing to say.
        self._deviations = sizes.masked_fill(sizes < _MUTE, torch.inf).unsqueeze(1) * self._groups.factors

    def __call__(self, embeddings: Tensor) -> Tensor:
        """The statistics of users at ``embeddings [n, d]``: ``[S, C]``, differentiable."""
        users, groups = self._standardized(embeddings), self._groups
        moving = (*groups.moments(users), self._features(users, groups.members))
        firsts, seconds, features = (torch.cat(pair) for pair in zip(moving, self._staying, strict=True))
        values = []
        for metric, part in zip(self._metrics, features.chunk(2, dim=1), strict=True):
            values += [groups.discrepancies(*sums) for sums in metric.kernels(firsts, seconds, part)]
            if metric.exact:
                sums = metric.gaussian_sums(torch.cat([users, self._others]), groups.everyone)
                place = len(values) - len(_STEPS)
                values[place:place] = [groups.discrepancies(products, groups.counts) for products in sums]
        values += [groups.discrepancies(*_linear(band, firsts, seconds)) for band in self._bands]
        return (torch.stack(values) / self._deviations).to(embeddings.dtype)

    def _standardized(self, embeddings: Tensor) -> Tensor:
        # Towers have dimensions that are the same for all users: they say nothing, and stay.
        flat = self.scale <= _FLAT * self.scale.max()
        return (embeddings - self.center) * self.scale.reciprocal().masked_fill(flat, 0.0)

    def _features(self, users: Tensor, members: Tensor) -> Tensor:
        """Sums of features over groups ``[G, n]``, of both metrics; above many users computed again backward."""

        def part(rows: Tensor, weights: Tensor) -> Tensor:
            return torch.cat([metric.features(rows, weights) for metric in self._metrics], dim=1).double()

        chunks = list(zip(users.split(_CHUNK), members.split(_CHUNK, dim=1), strict=True))
        if len(users) <= _KEPT:
            return torch.stack([part(*chunk) for chunk in chunks]).sum(0)
        return torch.stack([checkpoint(part, *chunk, use_reentrant=False) for chunk in chunks]).sum(0)

    @torch.no_grad()
    def _sums(self, users: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of users, of their squares and of their features in groups ``[A, n]``."""
        seconds = torch.stack([(users * member.unsqueeze(1)).t() @ users for member in members])
        return (members @ users).double(), seconds.double(), self._features(users, members)


class _Metric:
    """A basis in which users are compared, and the kernels in that basis."""

    def __init__(self, basis: Tensor, exact: bool, generator: torch.Generator) -> None:
        width = len(basis)
        self.basis, self.exact = basis, exact
        self._frequencies = torch.randn(width, _FREQUENCIES, generator=generator).to(basis) / width**0.5
        waves = [] if exact else [2 * _FREQUENCIES] * len(_BANDWIDTHS)
        self._widths = [*waves, *(width * (2 if t else 1) for t in _STEPS)]

    def _waves(self, turned: Tensor) -> Iterator[list[Tensor]]:
        """The random features of each Gaussian kernel; their squares add up to the number of frequencies."""
        phases = turned @ self._frequencies
        for b in [] if self.exact else _BANDWIDTHS:
            yield [(phases / b**0.5).cos(), (phases / b**0.5).sin()]

    def _steps(self, turned: Tensor) -> Iterator[list[Tensor]]:
        for t in _STEPS:
            up = ((turned - t) * _SLOPE).sigmoid()
            yield [up, ((turned + t) * -_SLOPE).sigmoid()] if t else [up]

    def features(self, users: Tensor, members: Tensor) -> Tensor:
        r"""Sums over groups ``[G, n]`` of features ``[n, D]``: ``[G, 1 + D + S]``.

        First stand the sums of the quadratic kernel of a user and itself. Then, for each of the S other kernels that
        are products of features, those of its features and of the kernel of a user and itself.
        """
        turned = users @ self.basis
        sums = [members @ turned.square().sum(1, keepdim=True).square()]
        for wave in self._waves(turned):
            sums += [*(members @ part for part in wave), _FREQUENCIES * members.sum(1, keepdim=True)]
        for step in self._steps(turned):
            own = torch.stack([(members @ part.square()).sum(1) for part in step]).sum(0)
            sums += [*(members @ part for part in step), own.unsqueeze(1)]
        return torch.cat(sums, dim=1)

    def kernels(self, firsts: Tensor, seconds: Tensor, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every kernel that is a product of sums: the products of groups ``[G, G]``, and its diagonal in each.

        Args:
            firsts: sums of users, ``[G, d]``.
            seconds: sums of their squares, ``[G, d, d]``.
            features: of :meth:`features`.
        """
        basis = self.basis.to(firsts)
        fourth, *parts = features.split([1, *(width + 1 for width in self._widths)], dim=1)
        yield _linear(basis, firsts, seconds)
        yield _squared((basis.t() @ seconds @ basis).flatten(1)), fourth[:, 0]
        for part in parts:
            yield _squared(part[:, :-1]), part[:, -1]

    def gaussians(self, users: Tensor) -> Iterator[Tensor]:
        r"""The Gaussian kernels :math:`\exp(-|x - y|^2 / 2bd)` between ``users [n, d]``, ``[n, n]``, as b is halved."""
        turned = users @ self.basis
        norms = turned.square().sum(1)
        distances = (norms + norms.unsqueeze(1) - 2 * turned @ turned.t()).clamp_min(0)
        gram = torch.exp(-distances / (2 * _BANDWIDTHS[0] * users.shape[1]))
        yield gram
        for _ in (*_BANDWIDTHS[1:], *_FINE):
            gram = gram.square()
            yield gram

    def gaussian_sums(self, users: Tensor, members: Tensor) -> Tensor:
        """Sums of :meth:`gaussians` over pairs of groups ``[G, n]``: ``[S, G, G]``."""
        n_bandwidths = len(_BANDWIDTHS) + len(_FINE)
        return gaussian_sums(users @ self.basis, members, n_bandwidths, 2 * _BANDWIDTHS[0] * users.shape[1])

    def grams(self, users: Tensor) -> Iterator[Tensor]:
        """Every kernel between ``users [n, d]``, in the order of the statistics and in double precision."""
        turned = users @ self.basis
        linear = turned.double() @ turned.double().t()
        yield linear
        yield linear.square()
        if self.exact:
            yield from (gram.double() for gram in self.gaussians(users))
        for parts in (*self._waves(turned), *self._steps(turned)):
            features = torch.cat(parts, dim=1).double()
            yield features @ features.t()


class _Groups:
    """Groups of those who move: the classes of each attribute, its small ones together, and its bystanders."""

    def __init__(self, labels: Tensor, other_labels: Tensor, known: Tensor | None, users: Tensor) -> None:
        codes, named = _grouped(labels, labels if known is None else known)
        n_attributes = labels.shape[1]
        owners = torch.tensor([a for a, _, _ in named], device=users.device)
        self._cells = Cells(codes, [(a, code) for a, code, _ in named], users)
        #: Who is in each group, ``[G, n]``; those who stay are a group of each attribute after them.
        self.members = torch.stack([codes[:, a] == code for a, code, _ in named]).to(users)
        self.staying = (other_labels >= 0).t().to(users)
        #: The same of all users, those who stay last, ``[G + A, n + m]``.
        self.everyone: Tensor = torch.block_diag(self.members, self.staying)
        self.counts = torch.cat([self.members.sum(1), self.staying.sum(1)]).double()
        belongs = [F.one_hot(owners, n_attributes).t(), torch.eye(n_attributes).to(owners)]
        self._populations = torch.cat(belongs, dim=1).double()
        sizes, totals = self.counts[: len(named)], (self._populations @ self.counts)[owners]
        judged = torch.tensor([bool(members) for _, _, members in named], device=users.device)
        self._judged = (judged & (sizes > 1) & (totals - sizes > 1)).nonzero().squeeze(1)
        if not len(self._judged):
            raise ValueError("no attribute has a class of two users and two users outside it")
        self._owners, self._sizes = owners[self._judged], sizes[self._judged]
        self._rests = totals[self._judged] - self._sizes
        n, m = self._sizes, self._rests
        #: What sizes make of a kernel's deviation between two users.
        self.factors = (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m)).sqrt()
        self.classes = [(named[i][0], named[i][2]) for i in self._judged.tolist()]

    def moments(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of users and of their squares in every group, ``[G, d]`` and ``[G, d, d]``, about the origin."""
        means, seconds = class_moments(users, self._cells)
        center, counts = self._cells.center.double(), self.counts[: len(means)].view(-1, 1)
        means, seconds = means.double(), seconds.double()
        cross = means.unsqueeze(2) * center
        seconds = seconds + cross + cross.transpose(1, 2) + center.unsqueeze(1) * center
        return (means + center) * counts, seconds * counts.unsqueeze(2)

    def discrepancies(self, products: Tensor, traces: Tensor) -> Tensor:
        """Of every judged class, ``[C]``.

        Args:
            products: sums of a kernel over pairs of users of two groups, ``[G + A, G + A]``.
            traces: of it over the users of a group and themselves, ``[G + A]``.
        """
        own, own_trace = products.diagonal()[self._judged], traces[self._judged]
        population, trace = self._populations[self._owners], (self._populations @ traces)[self._owners]
        mixed = (population * products[self._judged]).sum(1)
        everyone = ((population @ products) * population).sum(1)
        n, m = self._sizes, self._rests
        inside = (own - own_trace) / (n * (n - 1))
        outside = (everyone - 2 * mixed + own - (trace - own_trace)) / (m * (m - 1))
        apart: Tensor = inside + outside - 2 * (mixed - own) / (n * m)
        return apart


def _grouped(labels: Tensor, known: Tensor) -> tuple[Tensor, list[tuple[int, int, tuple[int, ...]]]]:
    """The group of each user ``[n, A]``, -1 for none; and (attribute, group, its labels) of each group."""
    codes, named = torch.full_like(labels, -1), list[tuple[int, int, tuple[int, ...]]]()
    for a, column in enumerate(labels.t()):
        values, sizes = column[column >= 0].unique(return_counts=True)
        large = [(int(value),) for value in values[sizes >= _FEWEST]]
        small = tuple(values[sizes < _FEWEST].tolist())
        for code, members in enumerate([*large, small] if small else large):
            codes[torch.isin(column, column.new_tensor(members)), a] = code
            named.append((a, code, members))
        bystanders = (column < 0) & (known[:, a] >= 0)
        if bystanders.any():
            codes[bystanders, a] = len(large) + 1
            named.append((a, len(large) + 1, ()))
    return codes, named


def _bases(users: Tensor) -> list[Tensor]:
    """The identity, the basis in which users are white but for their smallest eigenvalues, and what lies between."""
    width = users.shape[1]
    values, vectors = torch.linalg.eigh(users.double().t().cov(correction=0).view(width, width))
    mean = values.mean()
    white = vectors * values.clamp_min(_FLOOR * float(mean)).rsqrt()
    bands = [vectors * (values + ridge * mean).rsqrt() for ridge in _RIDGES]
    return [torch.eye(width).to(users), white.to(users), *bands]


def _linear(basis: Tensor, firsts: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
    """The linear kernel in a basis, see :meth:`_Metric.kernels`."""
    return _squared(firsts @ basis), (seconds * (basis @ basis.t())).sum((1, 2))


def _squared(vectors: Tensor) -> Tensor:
    return vectors @ vectors.t()


def _spread(kernel: Tensor) -> Tensor:
    r""":math:`(2 \operatorname{mean}_{i \ne j} \tilde K^2)^{1/2}` of a kernel ``[n, n]``, centered."""
    means, n = kernel.mean(0), len(kernel)
    centered = kernel - means - means.unsqueeze(1) + means.mean()
    off_diagonal = centered.square().sum() - centered.diagonal().square().sum()
    return (2 * off_diagonal / (n * (n - 1))).sqrt()
