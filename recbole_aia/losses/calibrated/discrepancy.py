"""How far classes of users are from random groups of their sizes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_aia.losses.calibrated.groups import Groups
from recbole_aia.losses.calibrated.kernels import Metric, bases, linear, spread
from recbole_aia.losses.shared.inputs import check_movers

FEW_USERS = 2048  # whose pairs are compared in next to no time
EXACT_USERS = 10_000  # up to which Gaussian kernels are computed between all pairs of users
_NULL_USERS = 1024  # drawn for the spread of the statistics under permuted labels
_FEW_NULL_USERS = 512  # where kernels are random features, and it would take longer than a few steps
_FLAT = 1e-6  # a standard deviation relative to the largest
_MUTE = 1e-9  # a kernel's deviation between users, far below that of every kernel that tells any two apart
_OUTGROWN = 25.0  # variance along a direction in which it was 1 or less when the unit was taken
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
    about 1 (:math:`\sigma` is estimated from 1,024 users at most, or 512 with random features), whatever the kernel,
    the class or the number of users. Above 0 a class stands apart. Below 0 it has been matched more closely than a
    random group of its size would be: users then look least like those of their own class, which an attacker who knows
    reads backwards.

    Of four or more classes (ages in order) each can be at chance and neighbours still stand together, which a stack of
    attackers reads, or a regression. Such an attribute has two more statistics a kernel: the mean of
    :math:`K_s r r'` over pairs of users with standardized labels r, less what it is under permuted ones, in its
    deviation; and the length of the covariances c of all pairs of classes,

    .. math:: z_s = \lVert P c_s \rVert - \sqrt{K (K - 3) / 2}, \qquad
        c_{s,jk} = \operatorname*{mean}_{i \in j, l \in k} \tilde K_s \Bigm/
        \Bigl(\tfrac{1}{n_j n_k} \operatorname*{mean}_{i \ne l} \tilde K_s^2\Bigr)^{1/2}

    where P takes out what the classes' own statistics fix. It is about 0 where groups are random, and
    scatters less than others for few pairs, more for few dimensions. Only the length is brought there, not each pair to
    zero, which a stack would read backwards. Pairs of two or three classes are fixed.

    Kernels, on standardized dimensions, on white users and on the long axes of these: linear (means), quadratic (second
    moments), squares (those of single axes alone) and Gaussian of several bandwidths. The first three on bands of white
    axes too, for over all axes, what classes tell by some is made up for by others; and on users as they were given,
    for attackers who do not standardize. Along single dimensions: soft steps, in the middle and towards the tails.
    Between standardized and white: two more linear ones. Up to ``exact_users`` users the Gaussian kernels are exact, in
    ``O(n^2 d)``. Above that, they are random Fourier features, without the two finest; a call then costs
    ``O(n d (d + D))`` for D features.

    Args:
        embeddings: where the users are now, ``[n, d]``. Bases, bandwidths and :math:`\sigma` are taken from here: the
            statistics stay the same functions while users move.
        labels: what is to be hidden, ``[n, A]``, integers; negative where there is nothing.
        others: embeddings of users who stay, ``[m, d]``; part of "the rest". Order and pairs are of those who move.
        other_labels: their labels, ``[m, A]``; who has none is not part of that attribute's rest.
        known: the labels of those who move whether they are to be hidden or not, ``[n, A]``; ``labels`` where ``None``.
        seed: of the random features.
        exact_users: up to this many, pairs of users are compared one by one.

    Attributes:
        kernels: the name of each row.
        classes: (attribute, labels) of each column; no labels for those of an order and of pairs, which stand last.
            Classes of fewer than five users are judged together, as one.

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
        if not everyone.isfinite().all():
            raise ValueError("not all embeddings are finite")
        if not self.scale.max() > 0:
            raise ValueError("all users are at the same place")
        everyone = self._standardized(everyone)
        moving, self._others = everyone.split([len(embeddings), len(others)])
        generator = torch.Generator().manual_seed(seed)
        exact = len(everyone) <= exact_users
        full, bands, between = bases(everyone, self.scale)
        self._metrics = [Metric(name, basis, exact, generator) for name, basis in full.items()]
        self._metrics += [Metric(name, basis, None, generator) for name, basis in bands.items()]
        self._white, self._between = full["white"], list(between.values())
        self.kernels = [name for metric in self._metrics for name in metric.names] + [
            f"{name} linear" for name in between
        ]
        self._groups = Groups(labels, other_labels, known, moving)
        self._staying = self._sums(self._others, self._groups.staying)
        self._pairs = self._groups.pairs
        self.classes = self._groups.classes + 2 * [(attribute, ()) for attribute in self._pairs.attributes]
        n_drawn = _NULL_USERS if exact else _FEW_NULL_USERS
        sizes = pair_sizes = self._spreads(everyone, n_drawn, generator)
        judged = (labels >= 0).any(1)
        if self._pairs.attributes and int(judged.sum()) < len(everyone):
            # A length has no zero without its unit, and its users may stand elsewhere than all others.
            pair_sizes = self._spreads(moving[judged], n_drawn, generator)
        # A kernel that is the same between all users, as the quadratic one of signs is, has nothing to say.
        units = torch.stack([sizes, pair_sizes]).unsqueeze(2)
        says = (units >= _MUTE).all(0)
        own, paired = units.where(says, torch.inf)
        factors, pair_factors = self._groups.factors, self._pairs.factors
        self._deviations = torch.cat([own * factors, paired * pair_factors], dim=1)
        self._radii = says * self._pairs.radii

    def _spreads(self, users: Tensor, n_drawn: int, generator: torch.Generator) -> Tensor:
        """The deviation of each kernel between two of ``users``, of whom some are drawn: ``[S]``."""
        order = torch.randperm(len(users), generator=generator)
        drawn = users[order[:n_drawn].to(users.device)]
        spreads = [spread(gram) for metric in self._metrics for gram in metric.grams(drawn)]
        spreads += [spread(turned @ turned.t()) for turned in (drawn.double() @ basis for basis in self._between)]
        return torch.stack(spreads)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """The statistics of users at ``embeddings [n, d]``: ``[S, C]``, differentiable."""
        users, groups = self._standardized(embeddings), self._groups
        moving = (*groups.moments(users), self._features(users, groups.members))
        firsts, seconds, features = (torch.cat(pair) for pair in zip(moving, self._staying, strict=True))
        everyone, sums = torch.cat([users, self._others]), list[tuple[Tensor, Tensor]]()
        parts = features.split([metric.width for metric in self._metrics], dim=1)
        for metric, part in zip(self._metrics, parts, strict=True):
            exact = metric.gaussian_sums(everyone, groups.everyone).unbind() if metric.exact else ()
            gaussians = [(products, groups.counts) for products in exact]
            sums += metric.kernels(firsts, seconds, part, gaussians)
        sums += [linear(basis, firsts, seconds) for basis in self._between]
        # Of all kernels at once: groups are few, and a kernel alone would be dozens of tiny products.
        products, traces = (torch.stack(each) for each in zip(*sums, strict=True))
        scores = groups.discrepancies(products, traces) / self._deviations
        if self._pairs.attributes:
            own, pairs = scores.tensor_split([len(groups.classes) + len(self._pairs.attributes)], dim=1)
            scores = torch.cat([own, self._pairs.lengths(pairs) - self._radii], dim=1)
        return scores.to(embeddings.dtype)

    @torch.no_grad()
    def fits(self, embeddings: Tensor) -> bool:
        """Whether users at ``embeddings [n, d]`` spread in no direction five times as far as white users.

        Where they do, second moments soon leave the range of numbers.
        """
        white = self._standardized(embeddings.double()) @ self._white.double()
        covariance = white.t().cov().view(white.shape[1], -1)
        return bool(covariance.isfinite().all() and torch.linalg.eigvalsh(covariance).max() <= _OUTGROWN)

    def _standardized(self, embeddings: Tensor) -> Tensor:
        # Towers have dimensions that are the same for all users: they say nothing, and stay.
        flat = self.scale <= _FLAT * self.scale.max()
        return (embeddings - self.center) * self.scale.reciprocal().masked_fill(flat, 0.0)

    def _features(self, users: Tensor, members: Tensor) -> Tensor:
        """Sums of features over groups ``[G, n]``, of all metrics; above many users computed again backward."""

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
