"""Groups of users, of which the judged ones are compared: classes, and those who only make up their rests."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.losses.calibrated.comparisons import Apart, ClassSums, Order, Pairs
from recbole_aia.losses.shared.moments import Cells, class_moments

_FEWEST = 5  # members of a class that is judged on its own; smaller classes are judged together, as one


class Groups:
    """Groups of users by what is known of them, and how the judged ones compare.

    Users who move are in a group for each class of each attribute; classes of fewer than five are one group. Who has a
    label and does not hide it is in a group of bystanders, one for each attribute. Users who stay follow, in one group
    for each attribute. Classes are judged; the other groups belong to their rests.

    Args:
        labels: what is to be hidden of those who move, ``[n, A]``; negative where there is nothing.
        other_labels: the labels of those who stay, ``[m, A]``.
        known: the labels of those who move whether they hide them or not, ``[n, A]``; ``labels`` where ``None``.
        users: those who move, ``[n, d]``.

    Attributes:
        members: who of those who move is in each of their G groups, 0 or 1, ``[G, n]``.
        staying: who of those who stay is in each of theirs, ``[A, m]``.
        counts: how many users are in each group, ``[G + A]``.
        classes: (attribute, labels) of each judged class, ``C`` of them.
        factors: what sizes make of a kernel's deviation, for classes and then orders, ``[C + A']``.
        apart: compares each class with its rest.
        order: compares along the order of labels.
        pairs: compares classes pair by pair.

    Raises:
        ValueError: no user has a label, or no class has two members and two users outside it.
    """

    def __init__(self, labels: Tensor, other_labels: Tensor, known: Tensor | None, users: Tensor) -> None:
        codes, named = _grouped(labels, labels if known is None else known)
        if not named:
            raise ValueError("no user has a label")
        n_attributes = labels.shape[1]
        owners = torch.tensor([a for a, _, _ in named], device=users.device)
        self._cells = Cells(codes, [(a, code) for a, code, _ in named], users)
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
        self._owners, n = owners[self._judged], sizes[self._judged]
        m = totals[self._judged] - n
        self.classes = [(named[i][0], named[i][2]) for i in self._judged.tolist()]
        self.apart, self.pairs = Apart(n, m), Pairs(self._owners, n, m)
        self.order = Order(self.pairs.attributes, self.classes, n)
        self.factors = torch.cat([self.apart.factors, self.order.factors])

    @functools.cached_property
    def all_members(self) -> Tensor:
        """Who is in each group, of all users, those who stay last: ``[G + A, n + m]``."""
        return torch.block_diag(self.members, self.staying)  # type: ignore[no-any-return,no-untyped-call,unused-ignore]

    def moments(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of users and of their outer products over every group, ``[G, d]`` and ``[G, d, d]``."""
        means, seconds = class_moments(users, self._cells)
        center, counts = self._cells.center.double(), self.counts[: len(means)].view(-1, 1)
        means, seconds = means.double(), seconds.double()
        cross = means.unsqueeze(2) * center
        seconds = seconds + cross + cross.transpose(1, 2) + center.unsqueeze(1) * center
        return (means + center) * counts, seconds * counts.unsqueeze(2)

    def compared(self, products: Tensor, traces: Tensor) -> Tensor:
        """What :class:`Apart` says of each class by S kernels, ``[S, C]``.

        Where attributes have four and more classes, :class:`Order` follows, ``[S, A']``, and the covariances of
        :class:`Pairs`, ``[S, P]``.

        Args:
            products: sums of each kernel over pairs of users of two groups, ``[S, G + A, G + A]``.
            traces: sums of it over the users of a group and themselves, ``[S, G + A]``.
        """
        population = self._populations
        mixed = (products @ population.t())[:, self._judged, self._owners]
        everyone = ((population @ products) * population).sum(2)[:, self._owners]
        all_selves = (traces @ population.t())[:, self._owners]
        between, selves = products[:, self._judged][:, :, self._judged], traces[:, self._judged]
        sums = ClassSums(between, selves, mixed, everyone, all_selves)
        apart = self.apart(sums)
        if not self.pairs.attributes:
            return apart
        covariances = self.pairs(sums)
        return torch.cat([apart, self.order(sums), covariances], dim=1)


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
