"""Optimal couplings between the users of each class and a barycenter, by three solvers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from recbole_aia.losses.raid.barycenter import Barycenter
from recbole_aia.losses.raid.costs import squared_cost

_PROJECTIONS = 2000  # most pairs of KL projections
_LOOK = 10  # of them between two looks at the marginals, each of which waits for the device
_MARGINAL = 1e-6  # error of a class's marginals, a sum of absolute values, at which they end
_UNDERFLOW = 600.0  # exp(-600) of a row's largest entry is nothing beside it, and still not zero

CouplingMethod = Literal["semi_dual", "kl_projection", "exact"]


class Coupling(ABC):
    r"""Couplings :math:`T_k` of K classes with the atoms of a barycenter.

    Marginals are :math:`1/N_k` (always exact) and :math:`\alpha`.
    """

    def __init__(self, samples: Sequence[Tensor], barycenter: Barycenter) -> None:
        if len(samples) != len(barycenter.potentials):
            raise ValueError(
                f"{len(samples)} classes of samples, but the barycenter was computed for {len(barycenter.potentials)}"
            )
        self._samples = [users.detach() for users in samples]
        self._atoms = barycenter.atoms.detach()

    def targets(self, embeddings: Tensor, class_index: int, rows: Tensor | None = None) -> Tensor:
        r"""Where the users should be, :math:`z_p = N_k \sum_q T_k(p, q)\, \bar y_q`.

        Args:
            embeddings: current users of one class, ``[B, d]``.
            class_index: k.
            rows: ``[B]``, indices of the users within their class. ``exact`` needs them and does not look at
                ``embeddings``; the other solvers follow ``embeddings`` and ignore ``rows``.

        Returns:
            ``[B, d]``, a constant: no gradient flows through it.

        Raises:
            ValueError: ``rows`` is missing and the solver is ``exact``.
        """
        users = embeddings.detach().to(self._atoms)
        return self._targets(users, class_index, rows).to(embeddings.dtype)

    def plan(self, class_index: int) -> Tensor:
        """The coupling of one class with the samples it was solved for, ``[N_k, Q]``."""
        return self._plan(self._samples[class_index].to(self._atoms), class_index)

    @abstractmethod
    def _targets(self, users: Tensor, class_index: int, rows: Tensor | None) -> Tensor: ...

    @abstractmethod
    def _plan(self, users: Tensor, class_index: int) -> Tensor: ...


class SemiDualCoupling(Coupling):
    r"""Lemma 1's coupling: user y goes to :math:`\arg\min_q \lVert y - \bar y_q \rVert^2 - g_k`.

    Each user goes to one atom, so :math:`\alpha` is met up to ``Barycenter.marginal_error``. B users take
    ``O(B Q d)``, and nothing is stored that grows with the number of users.
    """

    def __init__(self, samples: Sequence[Tensor], barycenter: Barycenter) -> None:
        super().__init__(samples, barycenter)
        self._potentials = barycenter.potentials.detach()

    def _assign(self, users: Tensor, class_index: int) -> Tensor:
        cost = squared_cost(users, self._atoms)
        # argmin takes the first of equals, as the barycenter does.
        return (cost - self._potentials[class_index]).argmin(1)

    def _targets(self, users: Tensor, class_index: int, rows: Tensor | None) -> Tensor:
        return self._atoms[self._assign(users, class_index)]

    def _plan(self, users: Tensor, class_index: int) -> Tensor:
        atom = self._assign(users, class_index)
        plan = self._atoms.new_zeros(len(users), len(self._atoms))
        return plan.scatter_(1, atom.unsqueeze(1), 1 / len(users))


class KLProjectionCoupling(Coupling):
    r"""Entropic coupling by iterative KL projections (Sinkhorn, stabilized).

    Only the scaled dual potential v of the atoms is kept. Any user is mapped by
    :math:`z(y) = \sum_q \operatorname{softmax}_q(v_q - \lVert y - \bar y_q \rVert^2 / \epsilon)\, \bar y_q`, in
    ``O(B Q d)`` for B users. On the samples, that is :math:`N_k \sum_q T_k(p, q)\, \bar y_q`.

    Args:
        samples: K tensors ``[N_k, d]``.
        barycenter: of the same classes.
        epsilon: entropic regularization relative to the mean cost of a class, > 0. Larger
            converges faster and draws the targets towards the mean.

    Raises:
        ValueError: ``epsilon`` is not positive.
    """

    def __init__(self, samples: Sequence[Tensor], barycenter: Barycenter, epsilon: float = 0.05) -> None:
        if not epsilon > 0:
            raise ValueError(f"epsilon is {epsilon}, expected a number > 0")
        super().__init__(samples, barycenter)
        solved = [
            _sinkhorn(users, barycenter, potential, epsilon)
            for users, potential in zip(samples, barycenter.potentials, strict=True)
        ]
        self._regularization = [regularization for regularization, _ in solved]
        self._duals = [dual for _, dual in solved]

    def _conditional(self, users: Tensor, class_index: int) -> Tensor:
        cost = squared_cost(users, self._atoms)
        return torch.softmax(self._duals[class_index] - cost / self._regularization[class_index], dim=1)

    def _targets(self, users: Tensor, class_index: int, rows: Tensor | None) -> Tensor:
        return self._conditional(users, class_index) @ self._atoms

    def _plan(self, users: Tensor, class_index: int) -> Tensor:
        return self._conditional(users, class_index) / len(users)


class ExactCoupling(Coupling):
    """The optimal coupling by a network simplex, ``[N_k, Q]`` per class; for tests and small data.

    Targets belong to the samples it was solved for and do not follow the users.
    """

    def __init__(self, samples: Sequence[Tensor], barycenter: Barycenter) -> None:
        super().__init__(samples, barycenter)
        self._plans = [_emd(users, barycenter) for users in samples]

    def _targets(self, users: Tensor, class_index: int, rows: Tensor | None) -> Tensor:
        if rows is None:
            raise ValueError(
                "the exact coupling is a table of the users it was solved for: pass rows, their "
                "indices within the class, or use semi_dual or kl_projection"
            )
        plan = self._plans[class_index]
        return len(plan) * plan[rows] @ self._atoms

    def _plan(self, users: Tensor, class_index: int) -> Tensor:
        return self._plans[class_index]


def solve_coupling(
    method: CouplingMethod,
    samples: Sequence[Tensor],
    barycenter: Barycenter,
    *,
    epsilon: float = 0.05,
) -> Coupling:
    r"""Couplings of every class with the barycenter.

    .. math:: T_k \in \arg\min_T \sum_{p, q} T(p, q) \lVert y_p - \bar y_q \rVert^2, \qquad
        \textstyle\sum_q T(p, q) = 1 / N_k, \quad \sum_p T(p, q) = \alpha_q

    Exactly (``exact``), with an entropy penalty (``kl_projection``), or by the barycenter's own potentials
    (``semi_dual``).

    Args:
        method: ``semi_dual`` (any size), ``kl_projection`` (the paper's) or ``exact``.
        samples: K tensors ``[N_k, d]``, the classes that the barycenter was computed for.
        barycenter: see :func:`penalized_barycenter`.
        epsilon: for ``kl_projection``, see :class:`KLProjectionCoupling`.

    Raises:
        ValueError: unknown method, ``epsilon`` not positive, or another number of classes.

    Source:
        RAID, section 4.3, step 2; Lemma 1 (``semi_dual``); Benamou et al. (2015)
        (``kl_projection``).
    """
    if method == "semi_dual":
        return SemiDualCoupling(samples, barycenter)
    if method == "kl_projection":
        return KLProjectionCoupling(samples, barycenter, epsilon)
    if method == "exact":
        return ExactCoupling(samples, barycenter)
    raise ValueError(f"coupling method {method!r}, expected semi_dual, kl_projection or exact")


def _problem(users: Tensor, barycenter: Barycenter) -> tuple[Tensor, Tensor, Tensor]:
    """Both marginals, and the costs ``[N_k, Q]``, in double precision."""
    cost = squared_cost(users.detach().double(), barycenter.atoms.double())
    weights = barycenter.weights.double()
    return cost.new_full((len(users),), 1 / len(users)), weights / weights.sum(), cost


def _emd(users: Tensor, barycenter: Barycenter) -> Tensor:
    """The optimal coupling ``[N_k, Q]`` by POT's network simplex."""
    import ot  # loading POT takes longer than most commands: only who couples by it waits

    mass, weights, cost = _problem(users, barycenter)
    plan = ot.emd(mass.cpu().numpy(), weights.cpu().numpy(), cost.cpu().numpy(), 1_000_000)
    return torch.from_numpy(plan).to(barycenter.atoms)


def _sinkhorn(users: Tensor, barycenter: Barycenter, potential: Tensor, epsilon: float) -> tuple[float, Tensor]:
    """The regularization, and the scaled dual ``[Q]``, which is minus infinity on atoms without weight."""
    mass, weights, cost = _problem(users, barycenter)
    regularization = epsilon * (float(cost.mean()) or 1.0)
    # The barycenter's own potentials are the solution for epsilon -> 0. Relative to them all scalings stay near one, so
    # that projections are products with a matrix instead of logarithms of sums.
    start = potential.double() / regularization + weights.log()
    level = start - cost.div_(regularization)
    level = level.sub_(level.max(1, keepdim=True).values)
    kernel = torch.where(weights > 0, level.clamp_min_(-_UNDERFLOW).exp_(), 0)
    columns = torch.ones_like(weights)
    rows = mass / (kernel @ columns)
    for count in range(1, _PROJECTIONS + 1):
        columns = weights / (kernel.t() @ rows).clamp_min_(torch.finfo(rows.dtype).tiny)
        sums = kernel @ columns
        if count % _LOOK == 0 and float((rows * sums - mass).abs().sum()) < _MARGINAL:
            break
        rows = mass / sums
    return regularization, (start + columns.log()).to(barycenter.atoms)
