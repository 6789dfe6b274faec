"""How far classes of users are from random groups of their sizes, by all statistics at once."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_aia.losses.calibrated.groups import Groups
from recbole_aia.losses.calibrated.statistics import Table, read_axes, spaces
from recbole_aia.losses.shared.inputs import check_movers
from recbole_aia.ranks import ranks

FEW_USERS = 2048  # up to here a comparison of all pairs of users takes a fraction of a second
EXACT_USERS = 10_000  # up to here Gaussian kernels are computed between all pairs of users
_NULL_USERS = 1024  # users who are drawn to estimate the statistics' standard deviations under permuted labels
_FEW_NULL_USERS = 512  # the same with random features, where 1,024 would take longer than a few steps do
_FLAT = 1e-6  # a dimension is the same for all users where its deviation is below this share of the largest
_MUTE = 1e-9  # a kernel tells no two users apart where it deviates by less; every useful kernel does by far more
_OUTGROWN = 25.0  # largest variance along an axis, 1 or less at first, up to which the statistics still hold
_CHUNK = 2048  # users whose features are computed at a time, so that they stay in a core's cache
_KEPT = 10_000  # up to here features are kept for the gradient; of more users they are computed again
_ON_GPU = 65_536  # both on a GPU, which has room, and which many small pieces would keep waiting


class Discrepancy(ABC):
    """Statistics of users as functions of where the users are: what every discrepancy shares.

    Args:
        embeddings: where all users are now, ``[n, d]``; spaces are taken from here.
        seed: of the random features, and of the users drawn for the standard deviations.
        exact_users: up to this many, pairs of users are compared one by one.
        read: what attackers predict, ``[C, n]``: users are compared along its linear predictors too.

    Attributes:
        kernels: the name of each row.

    Raises:
        ValueError: embeddings are not finite, or all the same.
    """

    def __init__(self, embeddings: Tensor, seed: int, exact_users: int, read: Tensor | None = None) -> None:
        self.center, self.scale = embeddings.mean(0), embeddings.std(0)
        if not embeddings.isfinite().all():
            raise ValueError("not all embeddings are finite")
        if not self.scale.max() > 0:
            raise ValueError("all users are at the same place")
        self._generator = torch.Generator().manual_seed(seed)
        exact = len(embeddings) <= exact_users
        self._n_drawn = _NULL_USERS if exact else _FEW_NULL_USERS
        standardized = self._standardized(embeddings)
        found = spaces(standardized, self.scale, self._generator)
        found += [] if read is None else [read_axes(standardized, read, self._generator)]
        self._white = next(space.basis for space in found if space.kind == "white")
        self._table = Table(found, exact)
        self.kernels = self._table.names

    @abstractmethod
    def __call__(self, embeddings: Tensor) -> Tensor:
        """The statistics of users at ``embeddings [n, d]``: ``[S, C]``, differentiable."""

    def _drawn_deviations(self, users: Tensor) -> Tensor:
        """The standard deviation of each kernel between two of ``users``, of whom some are drawn: ``[S]``."""
        order = torch.randperm(len(users), generator=self._generator)
        return self._table.deviations(users[order[: self._n_drawn].to(users.device)])

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
        """Sums of features over groups ``[G, n]``, ``[G, W]``; above many users computed again backward."""
        here = ranks()
        users, members = here.own(users), members[:, here.part(members.shape[1])]
        return here.total(self._own_features(users, members))

    def _own_features(self, users: Tensor, members: Tensor) -> Tensor:
        part, (chunk, kept) = self._table.features, (_ON_GPU, _ON_GPU) if users.is_cuda else (_CHUNK, _KEPT)
        pieces = zip(users.split(chunk), members.split(chunk, dim=1), strict=True)
        if len(users) <= kept:
            return torch.stack([part(*piece) for piece in pieces]).sum(0)
        # Nothing in it is random.
        again = functools.partial(checkpoint, part, use_reentrant=False, preserve_rng_state=False)
        return torch.stack([again(*piece) for piece in pieces]).sum(0)


class ClassDiscrepancy(Discrepancy):
    r"""How far each class stands from its rest by every statistic, in standard deviations under permuted labels.

    .. math:: z_{s,k} = \frac{1}{\sigma_{s,k}} \Bigl(
        \operatorname*{mean}_{i \ne j \in k} K_s + \operatorname*{mean}_{i \ne j \notin k} K_s
        - 2 \operatorname*{mean}_{i \in k, j \notin k} K_s \Bigr)

    Rows are kernels: :func:`~recbole_aia.losses.calibrated.statistics.table.statistics_in` lists them, and each
    :class:`~recbole_aia.losses.calibrated.statistics.base.Statistic` has its formula. Columns are classes
    (:class:`~recbole_aia.losses.calibrated.comparisons.Apart`). Each attribute of four and more classes has two more:
    :class:`~recbole_aia.losses.calibrated.comparisons.Order` and
    :class:`~recbole_aia.losses.calibrated.comparisons.Pairs`.

    Under permuted labels z has mean 0 and a standard deviation of about 1, whatever the kernel, the class or the number
    of users. Above 0 a class stands apart. Below 0 it is matched more closely than a random group of its size would be:
    its users then look least like each other, which an attacker who knows reads backwards.

    A call costs ``O(n^2 d)`` up to ``exact_users`` users. Above, Gaussian kernels are W random features in all, and a
    call costs ``O(n d (d + W))``.

    Args:
        embeddings: where the users are now, ``[n, d]``. Spaces and standard deviations are taken from here: the
            statistics stay the same functions while users move.
        labels: what is to be hidden, ``[n, A]``, integers; negative where there is nothing.
        others: embeddings of users who stay, ``[m, d]``; they belong to the rests. Order and pairs leave them out.
        other_labels: their labels, ``[m, A]``; negative for who does not belong to that attribute's rests.
        known: the labels of those who move whether they are to be hidden or not, ``[n, A]``; ``labels`` where ``None``.
        read: see :class:`Discrepancy`, ``[C, n + m]``.
        seed: of the random features, and of the users drawn for the standard deviations.
        exact_users: up to this many, pairs of users are compared one by one.

    Attributes:
        kernels: the name of each row.
        classes: (attribute, labels) of each column. Classes of fewer than five users are judged together, as one. Order
            and pairs stand last and have no labels.

    Raises:
        ValueError: shapes disagree, embeddings are not finite or all the same, or no class can be told from a rest.

    Source:
        Gretton et al. (2012), eq. 3 for the unbiased estimate. That its zero under permuted labels is where a defense
        has to stop is ours.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        *,
        others: Tensor | None = None,
        other_labels: Tensor | None = None,
        known: Tensor | None = None,
        read: Tensor | None = None,
        seed: int = 0,
        exact_users: int = EXACT_USERS,
    ) -> None:
        others = embeddings[:0] if others is None else others
        other_labels = labels[:0] if other_labels is None else other_labels
        check_movers(embeddings, labels, others, other_labels)
        labels, other_labels = labels.to(embeddings.device), other_labels.to(embeddings.device)
        known = None if known is None else known.to(embeddings.device)
        everyone = torch.cat([embeddings, others]).detach()
        super().__init__(everyone, seed, exact_users, read)
        everyone = self._standardized(everyone)
        moving, self._others = everyone.split([len(embeddings), len(others)])
        self._groups = Groups(labels, other_labels, known, moving)
        self._staying = self._sums(self._others, self._groups.staying)
        pairs = self._groups.pairs
        self.classes = self._groups.classes + 2 * [(attribute, ()) for attribute in pairs.attributes]
        own = paired = self._drawn_deviations(everyone)
        judged = (labels >= 0).any(1)
        if pairs.attributes and int(judged.sum()) < len(everyone):
            # A length has no zero without its unit, and its users may stand elsewhere than all others.
            paired = self._drawn_deviations(moving[judged])
        # A kernel that is the same between all users, as the quadratic one of signs is, has nothing to say.
        units = torch.stack([own, paired]).unsqueeze(2)
        says = (units >= _MUTE).all(0)
        own, paired = units.where(says, torch.inf)
        self._deviations = torch.cat([own * self._groups.factors, paired * pairs.factors], dim=1)
        self._radii = says * pairs.radii

    def __call__(self, embeddings: Tensor) -> Tensor:
        """See :meth:`Discrepancy.__call__`."""
        users, groups = self._standardized(embeddings), self._groups
        moving = (*groups.moments(users), self._features(users, groups.members))
        firsts, seconds, features = (torch.cat(pair) for pair in zip(moving, self._staying, strict=True))
        # All kernels are compared at once: groups are few, and a kernel alone would be dozens of tiny products.
        sums = self._table.sums(torch.cat([users, self._others]), groups, (firsts, seconds), features)
        scores = groups.compared(*sums) / self._deviations
        if groups.pairs.attributes:
            own, covariances = scores.tensor_split([len(groups.factors)], dim=1)
            scores = torch.cat([own, groups.pairs.lengths(covariances) - self._radii], dim=1)
        return scores.to(embeddings.dtype)

    @torch.no_grad()
    def _sums(self, users: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of users, of their outer products and of their features over groups ``[A, n]``."""
        seconds = torch.stack([(users * member.unsqueeze(1)).t() @ users for member in members])
        return (members @ users).double(), seconds.double(), self._features(users, members)
