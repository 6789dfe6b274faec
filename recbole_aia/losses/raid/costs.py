"""Squared costs between the users of each class and the atoms of a barycenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_aia.ranks import ranks


def squared_cost(points: Tensor, atoms: Tensor) -> Tensor:
    r"""Squared Euclidean cost :math:`c(y_p, \bar y_q) = \lVert y_p - \bar y_q \rVert^2`.

    Args:
        points: ``[n, d]``.
        atoms: ``[Q, d]``.

    Returns:
        ``[n, Q]``, nonnegative.
    """
    # Distances do not depend on the origin, the rounding of |y|^2 - 2 y.a + |a|^2 does.
    origin = atoms.mean(0)
    points, atoms = points - origin, atoms - origin
    square = points.square().sum(1, keepdim=True) + atoms.square().sum(1)
    return torch.addmm(square, points, atoms.T, alpha=-2).clamp_min_(0)


def soft_minimum(level: Tensor, tau: float) -> Tensor:
    r""":math:`-\tau \log \sum_q e^{-\ell_q / \tau}` of ``level [Q]``; its minimum at tau 0."""
    lowest = level.min()
    if tau < torch.finfo(level.dtype).tiny:
        return lowest
    return lowest - tau * torch.logsumexp((lowest - level) / tau, 0)


def hard_response(cost: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
    r"""Send every user to :math:`\arg\min_q c(y, \bar y_q) - g(\bar y_q)`.

    Args:
        cost: ``[n, Q]``.
        potential: ``[Q]``.

    Returns:
        Users per atom ``[Q]`` and the sum of the c-transforms (scalar, float64). Ties go to the
        lower atom, so that runs are reproducible.
    """
    value, atom = (cost - potential).min(1)
    counts = torch.bincount(atom, minlength=potential.numel()).to(potential.dtype)
    return counts, value.double().sum()


def soft_response(cost: Tensor, potential: Tensor, smoothing: float) -> Tensor:
    """Soft assignment ``softmax_q((g_q - c_q) / smoothing)``, rows sum to one, ``[n, Q]``."""
    return torch.softmax((potential - cost).div_(smoothing), dim=1)


class Kernel:
    r"""Soft assignments of one class near given potentials, at the price of two matrix-vector products.

    With :math:`K = e^{(g_0 - c) / \epsilon}` of the potentials :math:`g_0`, every other :math:`g` weighs its
    columns by :math:`w = e^{(g - g_0) / \epsilon}`, and the mass of the atoms is
    :math:`w \odot K^\top (K w)^{-1} / N`. Rows are scaled to a maximum of one, so nothing overflows as long as
    :math:`g` stays near (Schmitzer 2019, absorption).

    Args:
        cost: ``[n, Q]``.
        potential: :math:`g_0`, ``[Q]``.
        smoothing: :math:`\epsilon`, > 0.
        size: N, the users of the class; n where ``None``. Several processes have a part of them each.
    """

    def __init__(self, cost: Tensor, potential: Tensor, smoothing: float, size: int | None = None) -> None:
        level = (potential - cost).div_(smoothing)
        # Beside the row's maximum, e^-80 is nothing for all potentials that are served; smaller numbers would be slow.
        self._matrix = level.sub_(level.max(1, keepdim=True).values).clamp_min_(-80).exp_()
        self._potential, self._smoothing, self._size = potential, smoothing, len(cost) if size is None else size

    def serves(self, potential: Tensor, smoothing: float) -> bool:
        """Whether these potentials are near enough: rows then keep their digits."""
        if smoothing != self._smoothing:
            return False
        return float((potential - self._potential).abs().max()) <= 20 * smoothing

    def mass(self, potential: Tensor) -> Tensor:
        """Mass that the users ``[n]`` give the atoms, ``[Q]``; it sums to n / N."""
        weight = ((potential - self._potential) / self._smoothing).exp()
        return weight * (self._matrix.t() @ (self._matrix @ weight).reciprocal_()) / self._size


class JointCosts:
    """The costs of all classes in one matrix, for a GPU: few launches, and no look at how far potentials have come.

    Args:
        costs: K tensors ``[n_k, Q]``.
        sizes: ``N_k``, the users of each class; ``n_k`` where ``None``.
    """

    def __init__(self, costs: Sequence[Tensor], sizes: Sequence[int] | None = None) -> None:
        sizes = [len(cost) for cost in costs] if sizes is None else sizes
        self._costs = torch.cat(list(costs))
        self._classes = torch.cat([cost.new_full((len(cost),), k, dtype=torch.long) for k, cost in enumerate(costs)])
        shares = [cost.new_full((1, len(cost)), 1 / size) for cost, size in zip(costs, sizes, strict=True)]
        self._shares: Tensor = torch.block_diag(*shares)  # type: ignore[no-untyped-call]

    def masses(self, potentials: Tensor, smoothing: float) -> Tensor:
        """Second marginals ``[K, Q]`` of the soft couplings of potentials ``[K, Q]``."""
        return self._shares @ torch.softmax((potentials[self._classes] - self._costs).div_(smoothing), dim=1)


class Couplings(NamedTuple):
    """What one sweep over all users says about the soft couplings of given potentials."""

    mass: Tensor  # [K, Q], second marginals
    moment: Tensor  # [K, Q, d], sum_n T_k(n, q) y_n
    cost: Tensor  # [K], <C_k, T_k>


class ClassCosts:
    """The costs of every class, cached whole or recomputed block by block.

    Costs are divided by ``scale``. With ``batch_size`` no matrix larger than
    ``batch_size x Q`` exists at any time; without it the ``[N_k, Q]`` costs are kept.

    Of several processes each has the costs of its part of every class, and sums are over all.
    """

    def __init__(self, samples: Sequence[Tensor], atoms: Tensor, scale: float, batch_size: int | None) -> None:
        self.sizes = [len(users) for users in samples]
        self.samples = [users[ranks().part(len(users))] for users in samples]
        self.atoms = atoms
        self.scale = scale
        self.batch_size = batch_size
        self._cached = None if batch_size else [self._cost(users) for users in self.samples]
        self._kernels: list[Kernel | None] = [None] * len(samples)
        self._joint = None if self._cached is None or atoms.is_cpu else JointCosts(self._cached, self.sizes)

    def _cost(self, users: Tensor) -> Tensor:
        return squared_cost(users, self.atoms).div_(self.scale)

    def _blocks(self, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self._cached is not None:
            yield self.samples[k], self._cached[k]
            return
        for users in torch.split(self.samples[k], self.batch_size or len(self.samples[k])):
            yield users, self._cost(users)

    def masses(self, potentials: Tensor, smoothing: float) -> Tensor:
        """Second marginals ``[K, Q]`` of the soft couplings, over all users."""
        masses = self._own_masses(potentials, smoothing)
        ranks().add(masses)
        return masses

    def _own_masses(self, potentials: Tensor, smoothing: float) -> Tensor:
        if self._joint is not None:
            return self._joint.masses(potentials, smoothing)
        if self._cached is not None:
            return torch.stack(
                [self._kernel(k, potentials[k], smoothing).mass(potentials[k]) for k in range(len(self.samples))]
            )
        masses = torch.zeros_like(potentials)
        for k, size in enumerate(self.sizes):
            for _, cost in self._blocks(k):
                masses[k] += soft_response(cost, potentials[k], smoothing).sum(0) / size
        return masses

    def _kernel(self, k: int, potential: Tensor, smoothing: float) -> Kernel:
        kernel = self._kernels[k]
        if kernel is None or not kernel.serves(potential, smoothing):
            assert self._cached is not None
            kernel = self._kernels[k] = Kernel(self._cached[k], potential, smoothing, self.sizes[k])
        return kernel

    def hard_masses(self, potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Second marginals ``[K, Q]`` and mean c-transforms ``[K]`` of the hard couplings."""
        masses = torch.zeros_like(potentials)
        values = torch.zeros(len(potentials), dtype=torch.float64, device=potentials.device)
        for k, size in enumerate(self.sizes):
            for _, cost in self._blocks(k):
                counts, value = hard_response(cost, potentials[k])
                masses[k] += counts / size
                values[k] += value / size
        ranks().add(masses, values)
        return masses, values

    def batch_masses(self, potentials: Tensor, smoothing: float, generator: torch.Generator) -> Tensor:
        """Unbiased estimate of the marginals from ``batch_size`` random users of each class.

        A smoothing of zero asks for the hard assignment.
        """
        masses = torch.empty_like(potentials)
        for k, users in enumerate(self.samples):
            n, own = self.sizes[k], ranks().part(self.sizes[k])
            size = min(self.batch_size or n, n)
            rows = torch.randint(n, (size,), generator=generator, device=generator.device).to(users.device)
            if ranks().count > 1:
                rows = rows[(rows >= own.start) & (rows < own.stop)] - own.start
            cost = self._cost(users[rows])
            if smoothing > 0:
                plan = soft_response(cost, potentials[k], smoothing)
                masses[k] = plan.mean(0) if ranks().count == 1 else plan.sum(0) / size
            else:
                masses[k] = hard_response(cost, potentials[k])[0] / size
        ranks().add(masses)
        return masses

    def couple(self, potentials: Tensor, smoothing: float) -> Couplings:
        """Marginals, first moments and costs of the soft couplings, over all users."""
        n_classes, n_atoms = potentials.shape
        mass = torch.zeros_like(potentials)
        moment = potentials.new_zeros(n_classes, n_atoms, self.atoms.shape[1])
        total = torch.zeros(n_classes, dtype=torch.float64, device=potentials.device)
        for k, size in enumerate(self.sizes):
            for block, cost in self._blocks(k):
                plan = soft_response(cost, potentials[k], smoothing).div_(size)
                mass[k] += plan.sum(0)
                moment[k] += plan.T @ block
                total[k] += plan.mul_(cost).sum(dtype=torch.float64)
        ranks().add(mass, moment, total)
        return Couplings(mass, moment, total)
