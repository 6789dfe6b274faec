"""Groups of users: how far each class is from its rest, and how classes go together, without bias."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.losses.shared.moments import Cells, class_moments

_FEWEST = 5  # members of a class that is judged on its own
_PAIRED = 4  # classes from which on their distances from the rest leave open how two of them go together


class Groups:
    """Groups of those who move: the classes of each attribute, its small ones together, and its bystanders."""

    def __init__(self, labels: Tensor, other_labels: Tensor, known: Tensor | None, users: Tensor) -> None:
        codes, named = _grouped(labels, labels if known is None else known)
        if not named:
            raise ValueError("no user has a label")
        n_attributes = labels.shape[1]
        owners = torch.tensor([a for a, _, _ in named], device=users.device)
        self._cells = Cells(codes, [(a, code) for a, code, _ in named], users)
        #: Who is in each group, ``[G, n]``; those who stay are a group of each attribute after them.
        self.members = torch.stack([codes[:, a] == code for a, code, _ in named]).to(users)
        self.staying = (other_labels >= 0).t().to(users)
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
        self.classes = [(named[i][0], named[i][2]) for i in self._judged.tolist()]
        self.pairs = Pairs(self._owners, n)
        self.order = Order(self.pairs.attributes, self.classes, n)
        #: What sizes make of a kernel's deviation between two users, for classes and order; pairs have their own.
        self.factors = torch.cat([(1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m)).sqrt(), self.order.factors])

    @functools.cached_property
    def everyone(self) -> Tensor:
        """Who is in each group, of all users, those who stay last: ``[G + A, n + m]``."""
        return torch.block_diag(self.members, self.staying)  # type: ignore[no-any-return,no-untyped-call,unused-ignore]

    def moments(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of users and of their squares in every group, ``[G, d]`` and ``[G, d, d]``, about the origin."""
        means, seconds = class_moments(users, self._cells)
        center, counts = self._cells.center.double(), self.counts[: len(means)].view(-1, 1)
        means, seconds = means.double(), seconds.double()
        cross = means.unsqueeze(2) * center
        seconds = seconds + cross + cross.transpose(1, 2) + center.unsqueeze(1) * center
        return (means + center) * counts, seconds * counts.unsqueeze(2)

    def discrepancies(self, products: Tensor, traces: Tensor) -> Tensor:
        """Squared distances of the judged classes from their rests, by S kernels, ``[S, C]``.

        Where attributes have :class:`Pairs`, their :class:`Order` follows, ``[S, A']``, and covariances, ``[S, P]``.

        Args:
            products: sums of each kernel over pairs of users of two groups, ``[S, G + A, G + A]``.
            traces: of it over the users of a group and themselves, ``[S, G + A]``.
        """
        population = self._populations
        mixed = (products @ population.t())[:, self._judged, self._owners]
        everyone = ((population @ products) * population).sum(2)[:, self._owners]
        trace = (traces @ population.t())[:, self._owners]
        between, own_trace = products[:, self._judged][:, :, self._judged], traces[:, self._judged]
        own = between.diagonal(dim1=1, dim2=2)
        n, m = self._sizes, self._rests
        inside = (own - own_trace) / (n * (n - 1))
        outside = (everyone - 2 * mixed + own - (trace - own_trace)) / (m * (m - 1))
        apart = inside + outside - 2 * (mixed - own) / (n * m)
        if not self.pairs.attributes:
            return apart
        first, second = self.pairs.classes
        rows, grand = (mixed - own_trace) / (n * (n + m - 1)), (everyone - trace) / ((n + m) * (n + m - 1))
        across = between[:, first, second] / (n[first] * n[second])
        covariances = across - rows[:, first] - rows[:, second] + grand[:, first]
        return torch.cat([apart, self.order.discrepancies(between, own_trace), covariances], dim=1)


class Order:
    r"""How far users go with the order of their labels, for each attribute of :class:`Pairs`.

    .. math:: \operatorname*{mean}_{i \ne l} (r_i r_l + \tfrac{1}{N - 1}) K_{il}

    with r the labels, standardized over the N users of classes that are judged on their own.

    Args:
        attributes: A' of them.
        classes: (attribute, labels) of each judged class, ``C`` of them.
        sizes: their members, ``[C]``.

    Attributes:
        factors: what sizes make of a kernel's deviation, ``[A']``.
    """

    def __init__(self, attributes: list[int], classes: list[tuple[int, tuple[int, ...]]], sizes: Tensor) -> None:
        members = [[float(owner == a and len(labels) == 1) for owner, labels in classes] for a in attributes]
        ranks = sizes.new_tensor([float(labels[0]) for _, labels in classes])
        self._members = sizes.new_tensor(members).view(-1, len(classes))
        weights = self._members * sizes
        self._counts = weights.sum(1)
        centered = self._members * (ranks - (weights @ ranks / self._counts).unsqueeze(1))
        self._ranks = centered / ((weights * centered.square()).sum(1) / self._counts).sqrt().unsqueeze(1)
        self.factors = (self._counts * (self._counts - 1)).rsqrt()

    def discrepancies(self, products: Tensor, traces: Tensor) -> Tensor:
        """Of each attribute, ``[S, A']``, for sums of kernels over judged classes ``[S, C, C]`` and ``[S, C]``."""
        ranks, members, n = self._ranks, self._members, self._counts
        together = ((ranks @ products) * ranks).sum(2) - traces @ ranks.square().t()
        everyone = ((members @ products) * members).sum(2) - traces @ members.t()
        return (together + everyone / (n - 1)) / (n * (n - 1))


class Pairs:
    r"""All pairs of judged classes of each attribute that has four or more.

    How far each class is from its rest fixes how it goes together with the others on the whole, not with each of them.
    Of the covariances of its pairs that leaves :math:`K(K - 1)/2 - K` free.

    Args:
        owners: the attribute of each class, ``[C]``, in order.
        sizes: its members, ``[C]``.

    Attributes:
        attributes: the A' attributes.
        classes: the two classes of each pair, ``[2, P]``, attribute by attribute.
        factors: what sizes make of a kernel's deviation, ``[P]``.
        radii: the length of what is free where classes are random groups, ``[A']``.
    """

    def __init__(self, owners: Tensor, sizes: Tensor) -> None:
        found = [(owners == a).nonzero().squeeze(1) for a in owners.unique()]
        columns = [each for each in found if len(each) >= _PAIRED]
        self.attributes = [int(owners[each[0]]) for each in columns]
        pairs = [torch.combinations(each) for each in columns]
        self.classes = torch.cat([owners.new_empty(0, 2), *pairs]).t()
        self.factors = (2 * sizes[self.classes].prod(0)).rsqrt()
        self.radii = sizes.new_tensor([len(each) * (len(each) - 3) / 2 for each in columns]).sqrt()
        self._counts = [len(each) for each in pairs]
        # What a class makes of its pairs: a member's weight with each other class, in units of deviations.
        shares = sizes[self.classes].sqrt().flip(0).unsqueeze(2) * F.one_hot(self.classes, len(sizes))
        parts = shares.sum(0).split(self._counts)
        self._fixed = [torch.linalg.qr(part[:, each])[0] for part, each in zip(parts, columns, strict=True)]

    def lengths(self, covariances: Tensor) -> Tensor:
        """Of what is free in the covariances ``[S, P]`` of each attribute, ``[S, A']``."""
        parts = zip(covariances.split(self._counts, dim=1), self._fixed, strict=True)
        return torch.stack([torch.linalg.vector_norm(part - part @ q @ q.t(), dim=1) for part, q in parts], dim=1)


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
