"""How far classes are from random groups where nobody's own label is used: posteriors stand in their place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.discrepancy import _MUTE, EXACT_USERS, FEW_USERS, ClassDiscrepancy, Discrepancy
from recbole_aia.ranks import ranks

_FEWEST = 20  # users without a label, below which nothing can be said of them as a group
_ORDERED = 4  # classes from which on their order is compared too, as in comparisons.Order


class PosteriorDiscrepancy(Discrepancy):
    r"""How far each class stands from its rest, with :math:`p_k(x) = P(z = k \mid x)` in the place of labels.

    .. math:: z_{s,k} = \frac{\sum_{i \ne j} r_{ik} r_{jk} \tilde K_s(x_i, x_j)}
        {\sigma_s \sum_i (r_{ik}^2 + v_{ik})}, \qquad
        r_{ik} = p_k(x_i) - \operatorname*{mean}_j p_k(x_j), \qquad \tilde K = H K H

    where H takes the mean out of a kernel, and :math:`v_{ik} = p_k (1 - p_k)` is the variance that a posterior leaves.
    From the numerator comes off its mean under permuted residuals,
    :math:`\sum_i r_{ik}^2 \operatorname{tr} \tilde K / n (n - 1)`, which is small.

    :math:`E[1(z = k) f(x)] = E[p_k(x) f(x)]`, so true labels would give the same in expectation, up to the bias of p
    against the features of K. The unit is the standard deviation that they have under independence, where
    :math:`\sigma_s^2 = 2 \operatorname{mean} \tilde K_s^2` (:meth:`Statistic.deviation`). Users who move until all z
    are 0 move by a function of the vectors and of p: nobody's own label decides where a user goes, and users without
    labels move like all others.

    Spaces and deviations are taken where users are at first. An alignment shrinks users along the directions that p
    reads, and whoever standardizes stretches what is left there: take the statistics anew, and align again, until they
    are 0 where they are taken.

    Of two classes the first alone is judged: the second says the same. Attributes of four and more classes have one
    more column, their order: r is then the expected rank of the class.

    Args:
        embeddings: where the users are now, ``[n, d]``.
        posteriors: of each attribute, ``[n, K]``; rows sum to 1. No user's own label may have shaped the user's row;
            cross-fitting sees to it (:func:`cross_fitted_posterior`).
        among: who counts for which attribute, ``[n, A]``; all where ``None``.
        read: see :class:`Discrepancy`; the residuals where ``None``.
        seed: see :class:`Discrepancy`.
        exact_users: see :class:`Discrepancy`.

    Attributes:
        classes: (attribute, class) of each column; -1 for an order.
        all_members: the weight of each user in each group, ``[2C + 1, n]``: :math:`r`, then :math:`r^2`, then 1.
        counts: sums of weights, ``[2C + 1]``.
        lengths: :math:`\sum_i r_{ik}^2` of each column, ``[C]``.

    Raises:
        ValueError: shapes disagree, embeddings are not finite or all the same, or a posterior is the same for all.

    Source:
        Ours.
    """

    def __init__(
        self,
        embeddings: Tensor,
        posteriors: Sequence[Tensor],
        *,
        among: Tensor | None = None,
        read: Tensor | None = None,
        seed: int = 0,
        exact_users: int = EXACT_USERS,
    ) -> None:
        embeddings = embeddings.detach()
        rows, variances, self.classes = list[Tensor](), list[Tensor](), list[tuple[int, int]]()
        for attribute, posterior in enumerate(posteriors):
            if posterior.ndim != 2 or len(posterior) != len(embeddings) or posterior.shape[1] < 2:
                raise ValueError(f"a posterior has the shape {tuple(posterior.shape)} for {len(embeddings)} users")
            counted = torch.ones_like(posterior[:, 0]) if among is None else among[:, attribute].to(posterior)
            for name, values in _judged(posterior):
                row = posterior @ values.to(posterior)
                rows.append((row - (row * counted).sum() / counted.sum()) * counted)
                left = posterior @ values.square().to(posterior) - row.square()
                variances.append((left * counted).double().sum())
                self.classes.append((attribute, name))
        if not rows:
            raise ValueError("there is no posterior")
        weights = torch.stack(rows).to(embeddings)
        super().__init__(embeddings, seed, exact_users, weights if read is None else read)
        # Sums of a user's kernel with itself carry the square of the weight: a group of its own for each row.
        # One group of everybody centres the kernel.
        self.all_members = torch.cat([weights, weights.square(), torch.ones_like(weights[:1])])
        self.counts = self.all_members.double().sum(1)
        self.lengths = weights.double().square().sum(1)
        if not (self.lengths > 0).all():
            raise ValueError("a posterior is the same for all users")
        sizes = self._drawn_deviations(self._standardized(embeddings))
        # What labels would have: the variance that posteriors explain, and the variance that they leave.
        lengths = self.lengths + torch.stack(variances)
        # A kernel that is the same between all users has nothing to say.
        self._deviations = sizes.where(sizes >= _MUTE, torch.inf).unsqueeze(1) * lengths

    def __call__(self, embeddings: Tensor) -> Tensor:
        """See :meth:`Discrepancy.__call__`."""
        users, members, here = self._standardized(embeddings), self.all_members, ranks()
        own, rows = here.own(users), members[:, here.part(len(users))]
        firsts = here.total((rows @ own).double())
        seconds = here.total(torch.stack([(own * row.unsqueeze(1)).t() @ own for row in rows]).double())
        products, traces = self._table.sums(users, self, (firsts, seconds), self._features(users, members))
        n, n_columns = len(users), len(self.classes)
        squares, everybody = slice(n_columns, 2 * n_columns), -1
        pairs = products.diagonal(dim1=1, dim2=2)[:, :n_columns]
        # The kernel of a user and itself, centred: K_ii - 2 mean_j K_ij + mean K, each times r_i^2.
        total = products[:, everybody, everybody].unsqueeze(1)
        means = products[:, squares, everybody] / n
        selves = traces[:, squares] - 2 * means + self.lengths * total / n**2
        # What pairs of different users have under permuted residuals, which add up to 0.
        chance = self.lengths * (traces[:, everybody].unsqueeze(1) - total / n) / (n * (n - 1))
        return ((pairs - selves - chance) / self._deviations).to(embeddings.dtype)


def _levels(activity: Tensor | None, n_users: int) -> Tensor:
    """Groups of users who are compared each on its own, ``[G, n]``: all, and thirds by activity."""
    if activity is None or n_users <= FEW_USERS:
        return torch.ones(1, n_users, dtype=torch.bool)
    third = torch.zeros(n_users, dtype=torch.long, device=activity.device)
    third[activity.argsort(stable=True)] = torch.arange(n_users, device=activity.device) * 3 // n_users
    return torch.stack([torch.ones_like(third, dtype=torch.bool), *(third == each for each in range(3))])


def _judged(posterior: Tensor) -> list[tuple[int, Tensor]]:
    """The columns of an attribute: the class, and the value ``[K]`` that each class has in the column."""
    n_classes = posterior.shape[1]
    each = torch.eye(n_classes)
    if n_classes == 2:
        return [(0, each[0])]
    columns = list(enumerate(each))
    if n_classes >= _ORDERED:
        columns.append((-1, torch.arange(float(n_classes))))
    return columns


class MixedDiscrepancy:
    """How far known and unknown users are from chance: labels speak for the first, posteriors for the others.

    Each group has to be at chance alone. In the sum of both, known users would be over-corrected and unknown ones read
    in reverse.

    Posteriors do not speak for those whose labels they were learned from. They have taken up these labels' noise: what
    labels differ from them in adds up to nothing along their features. Users brought to chance by posteriors would end
    below it by labels.

    Classes that are at chance on average can stand apart among active users, and the other way round among others. So
    of many users each third by activity is compared too. Thirds of few users say little, and cost recommendations.

    Args:
        embeddings: where the users are now, ``[n, d]``.
        labels: ``[n, A]``, integers; negative where not known.
        posteriors: of each attribute, ``[n, K]``.
        activity: number of interactions of each user, ``[n]``; ``None`` where not known. Counts above 2,048 users.
        seed: see :class:`Discrepancy`.
        exact_users: see :class:`Discrepancy`.

    Raises:
        ValueError: see :class:`ClassDiscrepancy` and :class:`PosteriorDiscrepancy`.

    Source:
        Ours.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        posteriors: Sequence[Tensor],
        *,
        activity: Tensor | None = None,
        seed: int = 0,
        exact_users: int = EXACT_USERS,
    ) -> None:
        labels = labels.to(embeddings.device)
        read = torch.cat([each[:, :-1] - each[:, :-1].mean(0) for each in posteriors], dim=1).t().to(embeddings)
        parts: list[Discrepancy] = []
        groups = _levels(activity, len(embeddings)).to(labels.device)
        if (labels >= 0).any():
            known = torch.cat([labels.where(group.unsqueeze(1), -1) for group in groups], dim=1)
            parts.append(ClassDiscrepancy(embeddings, known, read=read, seed=seed, exact_users=exact_users))
        unknown = [(a, (column < 0) & group) for group in groups for a, column in enumerate(labels.t())]
        unknown = [(a, users) for a, users in unknown if int(users.sum()) >= _FEWEST]
        if unknown:
            said, among = [posteriors[a] for a, _ in unknown], torch.stack([users for _, users in unknown], dim=1)
            parts.append(
                PosteriorDiscrepancy(embeddings, said, among=among, read=read, seed=seed, exact_users=exact_users)
            )
        self.parts = parts

    def fits(self, embeddings: Tensor) -> bool:
        """See :meth:`Discrepancy.fits`."""
        return self.parts[0].fits(embeddings)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """See :meth:`Discrepancy.__call__`: columns of known users, then of unknown ones."""
        return torch.cat([part(embeddings) for part in self.parts], dim=1)
