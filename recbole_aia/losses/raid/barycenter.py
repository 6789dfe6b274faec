"""The penalized Wasserstein barycenter of RAID, by its dual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_aia.losses.raid.ascent import COARSE_STAGES, FINE_STAGES, Dual, State, ascend, polish
from recbole_aia.losses.raid.costs import ClassCosts, Couplings, soft_minimum, squared_cost
from recbole_aia.losses.raid.inputs import check_options, check_tau, checked_samples, class_shares, cost_scale

# The support has settled where its mean squared move is below this share of the cost scale.
SETTLED = 1e-4
# Up to this L1 marginal error, the smoothed couplings count as converged.
MARGINAL_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class Barycenter:
    r"""A discrete barycenter :math:`\sum_q \alpha_q \delta_{\bar y_q}` and the dual that gave it.

    Attributes:
        atoms: support :math:`\bar y_q`, ``[Q, d]``.
        weights: :math:`\alpha`, ``[Q]``, nonnegative, sums to one.
        potentials: :math:`g_k(\bar y_q)`, ``[K, Q]``.
        objective: value of the dual (eq. 13) at ``potentials``.
        marginal_error: :math:`\sum_k \lambda_k \lVert m_k - \alpha \rVert_1` in ``[0, 2]``, where
            :math:`m_k` is the mass that the hard assignment of class k gives each atom. That mass is a multiple
            of :math:`1/N_k`, so about :math:`Q / N_k` is the least error that a class can be expected to have.
        iterations: ascent steps over all rounds.
        converged: see :func:`penalized_barycenter`.
    """

    atoms: Tensor
    weights: Tensor
    potentials: Tensor
    objective: float
    marginal_error: float
    iterations: int
    converged: bool


def barycenter_weights(potentials: Tensor, class_weights: Tensor, tau: float) -> Tensor:
    r"""Weights of the barycenter that belong to given potentials.

    .. math:: \alpha_q = \operatorname{softmax}_q\Bigl(-\frac1\tau \sum_k \lambda_k g_k(\bar y_q)
        \Bigr)

    Args:
        potentials: :math:`g`, ``[K, Q]``.
        class_weights: :math:`\lambda`, ``[K]``, nonnegative, sums to one.
        tau: entropy penalty, >= 0. At 0 the limit is returned: equal weights on the atoms that
            minimize :math:`\sum_k \lambda_k g_k`, none elsewhere. At an optimum of the unpenalized
            problem many atoms do, and the limit is then *not* the barycenter's weights;
            :func:`penalized_barycenter` returns those.

    Returns:
        ``[Q]`` on the simplex.

    Raises:
        ValueError: ``tau`` is negative.

    Source:
        RAID, eq. 21.
    """
    check_tau(tau)
    level = class_weights @ potentials
    if tau < torch.finfo(level.dtype).tiny:
        lowest = (level == level.min()).to(level.dtype)
        return lowest / lowest.sum()
    return torch.softmax((level.min() - level) / tau, 0)


def dual_objective(
    potentials: Tensor,
    samples: Sequence[Tensor],
    class_weights: Tensor,
    atoms: Tensor,
    tau: float,
) -> Tensor:
    r"""Dual of the penalized barycenter on a fixed support; concave in ``potentials``.

    .. math:: \sum_k \lambda_k \frac1{N_k} \sum_n g_k^c(y_n^k)
        - \tau \log \sum_q \exp\Bigl(-\frac1\tau \sum_k \lambda_k g_k(\bar y_q)\Bigr),
        \quad g_k^c(y) = \min_q \lVert y - \bar y_q \rVert^2 - g_k(\bar y_q)

    Its maximum is :math:`\min_\alpha \sum_k \lambda_k W_2^2(\hat P(Y^k), \sum_q \alpha_q
    \delta_{\bar y_q}) + \tau \sum_q \alpha_q \log \alpha_q`. The class sums of eq. 13 are means
    here, as in eq. 18, from which it is derived.

    Args:
        potentials: :math:`g`, ``[K, Q]``.
        samples: K tensors ``[N_k, d]``.
        class_weights: :math:`\lambda`, ``[K]``, nonnegative, sums to one.
        atoms: :math:`\bar y`, ``[Q, d]``.
        tau: entropy penalty, >= 0; at 0 the second term is its limit
            :math:`\min_q \sum_k \lambda_k g_k(\bar y_q)`.

    Returns:
        Scalar, differentiable in ``potentials`` (a super-gradient).

    Raises:
        ValueError: ``tau`` is negative.

    Source:
        RAID, Lemma 1, eq. 13.
    """
    check_tau(tau)
    means = torch.stack(
        [
            (squared_cost(users, atoms) - potential).min(1).values.mean()
            for users, potential in zip(samples, potentials, strict=True)
        ]
    )
    return class_weights @ means + soft_minimum(class_weights @ potentials, tau)


def penalized_barycenter(
    samples: Sequence[Tensor],
    *,
    n_atoms: int = 256,
    tau: float = 1.0,
    class_weights: Tensor | None = None,
    atoms: Tensor | None = None,
    warm_start: Barycenter | None = None,
    outer_rounds: int = 3,
    max_iterations: int = 300,
    tolerance: float = 1e-3,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> Barycenter:
    r"""Free-support barycenter of the classes, with an entropy penalty on its weights.

    .. math:: \min_{\bar y, \alpha} \sum_k \lambda_k W_2^2\Bigl(\hat P(Y^k), \sum_q \alpha_q
        \delta_{\bar y_q}\Bigr) + \tau \sum_q \alpha_q \log \alpha_q

    Two moves alternate. (a) Super-gradient ascent on the dual (eq. 13). Its c-transform is smoothed, with a temperature
    that falls to 0.001 of the cost scale, and at the end it is not. (b) Every atom goes to
    :math:`\sum_k \lambda_k \frac1{\alpha_q} \sum_n T_k(n, q) y_n^k`.

    The cost scale is twice the mean squared distance of a user to the mean of all. Everything but ``tau`` is measured
    against it: data times s with ``tau`` times s² give the barycenter times s.

    Args:
        samples: K tensors ``[N_k, d]``, the users of each class; no gradient reaches them.
        n_atoms: Q, support size; not more than the number of users is used.
        tau: entropy penalty, >= 0, in the units of the squared distances; larger is flatter.
        class_weights: :math:`\lambda`, ``[K]``, nonnegative; normalized. Default ``N_k / N``.
        atoms: ``[Q, d]``, the initial support instead of a random subsample of all users.
        warm_start: an earlier barycenter of the same K and d, whose support (unless ``atoms`` is
            given), weights and potentials are the starting point.
        outer_rounds: moves of the support, >= 0; 0 keeps it. Fewer if it settles before, and at
            most one after a warm start, whose support is already that of nearly the same data.
        max_iterations: ascent steps for each position of the support, >= 1.
        tolerance: see ``converged`` below.
        batch_size: users of a class per ascent step, >= 1. If a class is larger, steps are
            stochastic and no matrix larger than ``batch_size x Q`` is ever built.
        generator: for the subsample and the mini-batches; seed 0 when missing.

    Returns:
        The barycenter, in the dtype of the samples. ``converged`` says that the couplings at the
        smallest temperature cost at most ``tolerance`` times the cost scale more than ``objective``
        (an estimate of the duality gap: the error of their marginals is priced with the potentials)
        and that their marginal error is at most 0.1.

    Raises:
        ValueError: no class, an empty class, samples that are not finite or of different widths, or
            an option outside its range.

    Source:
        RAID, Lemma 1, eq. 13 and 21, appendix A.1 and A.2; Cuturi and Doucet (2014), algorithm 2,
        for the support.
    """
    check_tau(tau)
    check_options(n_atoms, outer_rounds, max_iterations, batch_size)
    users = checked_samples(samples)
    shares = class_shares(class_weights, users)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    if batch_size is not None and batch_size >= max(len(block) for block in users):
        batch_size = None
    scale = cost_scale(users)
    support = _initial_support(users, atoms, warm_start, n_atoms, generator)
    state = _initial_state(support, shares, warm_start, tau, scale)

    warm = warm_start is not None
    outer_rounds = min(outer_rounds, 1) if warm else outer_rounds
    iterations, last = 0, outer_rounds == 0
    for remaining in range(outer_rounds, -1, -1):
        last = last or remaining == 0
        stages = (FINE_STAGES if last else COARSE_STAGES)[warm:]
        dual = Dual(ClassCosts(users, support, scale, batch_size), shares, tau / scale)
        state, used = ascend(dual, state, stages, max_iterations, generator)
        couplings = dual.costs.couple(state.potentials, stages[-1])
        weights = state.log_weights.exp()
        iterations, warm = iterations + used, True
        if last:
            break
        moved = _moved_support(support, couplings, weights, shares)
        last = float(weights @ (moved - support).square().sum(1)) < SETTLED * scale
        support = moved

    upper = _coupled_value(couplings, state, dual)
    smooth_error = dual.marginal_error(couplings.mass, weights)
    if batch_size is None:
        state, used = polish(dual, state, max_iterations)
        iterations += used
    state = state.consistent(shares, tau / scale)
    masses, transforms = dual.costs.hard_masses(state.potentials)
    value = dual.value(transforms, state.potentials)
    weights = state.log_weights.exp()
    dtype = samples[0].dtype
    return Barycenter(
        atoms=support.to(dtype),
        weights=weights.to(dtype),
        potentials=(state.potentials * scale).to(dtype),
        objective=value * scale,
        marginal_error=dual.marginal_error(masses, weights),
        iterations=iterations,
        converged=upper - value <= tolerance and smooth_error <= MARGINAL_TOLERANCE,
    )


def _moved_support(support: Tensor, couplings: Couplings, weights: Tensor, class_weights: Tensor) -> Tensor:
    """Weighted barycentric projection ``[Q, d]``; atoms that receive no mass stay put."""
    means = couplings.moment / couplings.mass.clamp_min(1e-30).unsqueeze(2)
    # This is lambda_k * alpha_q once the marginals agree. Before, a class that sends little mass to an atom has little
    # say in where it goes.
    pull = class_weights.unsqueeze(1) * torch.minimum(couplings.mass, weights)
    total = pull.sum(0)
    moved = (pull.unsqueeze(2) * means).sum(0) / total.clamp_min(1e-30).unsqueeze(1)
    return torch.where((total > 1e-12).unsqueeze(1), moved, support)


def _coupled_value(couplings: Couplings, state: State, dual: Dual) -> float:
    """The primal value of the couplings; the error of their marginals is priced with the potentials."""
    weights = state.log_weights.double().exp()
    excess = ((weights - couplings.mass) * state.potentials).sum(1)
    entropy = float(torch.special.xlogy(weights, weights).sum())
    return float(dual.class_weights.double() @ (couplings.cost + excess)) + dual.tau * entropy


def _initial_support(
    users: Sequence[Tensor],
    atoms: Tensor | None,
    warm_start: Barycenter | None,
    n_atoms: int,
    generator: torch.Generator,
) -> Tensor:
    """The given atoms, those of the warm start, or a random subsample, ``[Q, d]``."""
    width, n_classes = users[0].shape[1], len(users)
    if warm_start is not None:
        if warm_start.atoms.shape[1] != width or len(warm_start.potentials) != n_classes:
            raise ValueError(
                f"warm_start has {len(warm_start.potentials)} classes of width "
                f"{warm_start.atoms.shape[1]}, samples have {n_classes} of width {width}"
            )
        if atoms is not None and len(atoms) != len(warm_start.atoms):
            raise ValueError(f"atoms has {len(atoms)} rows, warm_start {len(warm_start.atoms)}; drop one of them")
        atoms = warm_start.atoms if atoms is None else atoms
    if atoms is None:
        pool = torch.cat(list(users))
        chosen = torch.randperm(len(pool), generator=generator, device=generator.device)
        return pool[chosen[:n_atoms].to(pool.device)]
    if atoms.ndim != 2 or atoms.shape[1] != width or not len(atoms):
        raise ValueError(f"atoms has shape {tuple(atoms.shape)}, expected [Q, {width}]")
    if not torch.isfinite(atoms).all():
        raise ValueError("atoms holds values that are not finite")
    return atoms.detach().to(users[0])


def _initial_state(support: Tensor, shares: Tensor, warm_start: Barycenter | None, tau: float, scale: float) -> State:
    """Zero potentials and equal weights, or those of the warm start."""
    if warm_start is None:
        log_weights = torch.log_softmax(support.new_zeros(len(support)), 0)
        return State(support.new_zeros(len(shares), len(support)), log_weights)
    log_weights = warm_start.weights.to(support).clamp_min(1e-30).log()
    state = State(warm_start.potentials.to(support) / scale, torch.log_softmax(log_weights, 0))
    return state.consistent(shares, tau / scale)
