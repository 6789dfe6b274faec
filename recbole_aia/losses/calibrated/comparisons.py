"""How classes are compared by any kernel: each with its rest, along the order of labels, and pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: From how many classes on their distances from their rests leave open how two of them go together.
PAIRED = 4


class ClassSums(NamedTuple):
    """Sums of S kernels over pairs of users, for C judged classes.

    The population of a class is all who have a label of its attribute.

    Attributes:
        between: of a member of one class and one of another, ``[S, C, C]``.
        selves: of the members of a class and themselves, ``[S, C]``.
        mixed: of a member of a class and one of its population, ``[S, C]``.
        everyone: of two users of the population, ``[S, C]``.
        all_selves: of the users of the population and themselves, ``[S, C]``.
    """

    between: Tensor
    selves: Tensor
    mixed: Tensor
    everyone: Tensor
    all_selves: Tensor


class Apart:
    r"""How far a class stands from its rest: the unbiased squared mean discrepancy.

    .. math:: \operatorname*{mean}_{i \ne j \in k} K_{ij} + \operatorname*{mean}_{i \ne j \notin k} K_{ij}
        - 2 \operatorname*{mean}_{i \in k, j \notin k} K_{ij}

    Null: 0, with a standard deviation of a kernel's own (:meth:`Statistic.deviation`) times
    :math:`\bigl(\tfrac1{n (n - 1)} + \tfrac1{m (m - 1)} + \tfrac2{n m}\bigr)^{1/2}` for n members and m in the rest.

    Args:
        sizes: members of each class, ``[C]``.
        rests: users of its rest, ``[C]``.

    Attributes:
        factors: what sizes make of a kernel's deviation, ``[C]``.

    Source:
        Gretton et al. (2012), eq. 3.
    """

    def __init__(self, sizes: Tensor, rests: Tensor) -> None:
        self._sizes, self._rests = n, m = sizes, rests
        self.factors = (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m)).sqrt()

    def __call__(self, sums: ClassSums) -> Tensor:
        """The discrepancy of each class, ``[S, C]``."""
        n, m, own = self._sizes, self._rests, sums.between.diagonal(dim1=1, dim2=2)
        inside = (own - sums.selves) / (n * (n - 1))
        outside = (sums.everyone - 2 * sums.mixed + own - (sums.all_selves - sums.selves)) / (m * (m - 1))
        return inside + outside - 2 * (sums.mixed - own) / (n * m)


class Order:
    r"""How far users go with the order of their labels, for each attribute of four and more classes.

    Each class can be at chance while neighbours still stand together, which a regression reads.

    .. math:: \operatorname*{mean}_{i \ne l} \bigl(r_i r_l + \tfrac{1}{N - 1}\bigr) K_{il}

    with r the labels, standardized over the N users of classes that are judged on their own.

    Null: 0, with a standard deviation of a kernel's own (:meth:`Statistic.deviation`) times
    :math:`(N (N - 1))^{-1/2}`.

    Args:
        attributes: A' of them.
        classes: (attribute, labels) of each judged class, ``C`` of them.
        sizes: their members, ``[C]``.

    Attributes:
        factors: what sizes make of a kernel's deviation, ``[A']``.

    Source:
        Ours.
    """

    def __init__(self, attributes: Sequence[int], classes: list[tuple[int, tuple[int, ...]]], sizes: Tensor) -> None:
        members = [[float(owner == a and len(labels) == 1) for owner, labels in classes] for a in attributes]
        ranks = sizes.new_tensor([float(labels[0]) for _, labels in classes])
        self._members = sizes.new_tensor(members).view(-1, len(classes))
        weights = self._members * sizes
        self._counts = weights.sum(1)
        centered = self._members * (ranks - (weights @ ranks / self._counts).unsqueeze(1))
        self._ranks = centered / ((weights * centered.square()).sum(1) / self._counts).sqrt().unsqueeze(1)
        self.factors = (self._counts * (self._counts - 1)).rsqrt()

    def __call__(self, sums: ClassSums) -> Tensor:
        """The mean of each attribute, ``[S, A']``."""
        ranks, members, n = self._ranks, self._members, self._counts
        together = ((ranks @ sums.between) * ranks).sum(2) - sums.selves @ ranks.square().t()
        everyone = ((members @ sums.between) * members).sum(2) - sums.selves @ members.t()
        return (together + everyone / (n - 1)) / (n * (n - 1))


class Pairs:
    r"""How pairs of classes go together, as one length for each attribute of four and more classes.

    A stack of attackers reads that two classes stand together while each is at chance against its rest. The covariance
    of a pair, in its standard deviation, is

    .. math:: c_{jk} = \operatorname*{mean}_{i \in j, l \in k} \tilde K_{il} \Bigm/
        \Bigl(\tfrac{1}{n_j n_k} \operatorname*{mean}_{i \ne l} \tilde K_{il}^2\Bigr)^{1/2}, \qquad
        z = \lVert P c \rVert - \sqrt{K (K - 3) / 2}

    where P takes out of the :math:`K (K - 1) / 2` covariances of K classes the K directions that :class:`Apart` fixes;
    those of two or three classes are fixed. Only the length is brought to chance. A stack would read each pair brought
    to zero backwards.

    Null: about 0. The standard deviation is below 1 where pairs are few and above it where dimensions are.

    Args:
        owners: the attribute of each class, ``[C]``, in order.
        sizes: its members, ``[C]``.
        rests: users of its rest, ``[C]``.

    Attributes:
        attributes: the A' attributes.
        classes: the two classes of each of P pairs, ``[2, P]``, attribute by attribute.
        factors: what sizes make of a kernel's deviation, ``[P]``.
        radii: the length under permuted labels, ``[A']``.

    Source:
        Ours.
    """

    def __init__(self, owners: Tensor, sizes: Tensor, rests: Tensor) -> None:
        self._sizes, self._rests = sizes, rests
        found = [(owners == a).nonzero().squeeze(1) for a in owners.unique()]
        columns = [each for each in found if len(each) >= PAIRED]
        self.attributes = [int(owners[each[0]]) for each in columns]
        pairs = [torch.combinations(each) for each in columns]
        self.classes = torch.cat([owners.new_empty(0, 2), *pairs]).t()
        self.factors = (2 * sizes[self.classes].prod(0)).rsqrt()
        self.radii = sizes.new_tensor([len(each) * (len(each) - 3) / 2 for each in columns]).sqrt()
        self._counts = [len(each) for each in pairs]
        # The covariances of a class with all others add up to what Apart says of it. In units of standard deviations,
        # each enters that sum with the root of the other class's size.
        shares = sizes[self.classes].sqrt().flip(0).unsqueeze(2) * F.one_hot(self.classes, len(sizes))
        parts = shares.sum(0).split(self._counts)
        self._fixed = [torch.linalg.qr(part[:, each])[0] for part, each in zip(parts, columns, strict=True)]

    def __call__(self, sums: ClassSums) -> Tensor:
        """The covariance of each pair, not yet in its unit, ``[S, P]``."""
        (first, second), n, m = self.classes, self._sizes, self._rests
        rows = (sums.mixed - sums.selves) / (n * (n + m - 1))
        grand = (sums.everyone - sums.all_selves) / ((n + m) * (n + m - 1))
        across = sums.between[:, first, second] / (n[first] * n[second])
        return across - rows[:, first] - rows[:, second] + grand[:, first]

    def lengths(self, covariances: Tensor) -> Tensor:
        r""":math:`\lVert P c \rVert` of each attribute, ``[S, A']``, for covariances ``[S, P]`` in their units."""
        parts = zip(covariances.split(self._counts, dim=1), self._fixed, strict=True)
        return torch.stack([torch.linalg.vector_norm(part - part @ q @ q.t(), dim=1) for part, q in parts], dim=1)
