"""A map of vectors that hides classes: users move as their vectors and probabilities say, and later users with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recbole_aia.losses.calibrated.alignment import Alignment, align
from recbole_aia.losses.calibrated.discrepancy import FEW_USERS
from recbole_aia.losses.calibrated.estimation import MOST, Features, Posterior
from recbole_aia.losses.calibrated.posterior import MixedDiscrepancy
from recbole_aia.losses.calibrated.statistics import read_axes

FREQUENCIES = 32  # random frequencies along the axes that attackers read; there a linear map leaves a curve
_BANDWIDTH = 1.0  # of their Gaussian kernel
_FLOOR = 1e-4  # an axis is stretched no further than if its eigenvalue were this share of the largest
_DEPENDENT = 1e-6  # a combination of columns is left out where its variance is below this share of the largest
WEIGHTS_A_USER = 0.03  # weights of a dimension's movement for each user at most: more would write single labels down
_CHUNK, _CHUNK_ON_GPU = 8192, 262_144  # users mapped at a time


@dataclass(frozen=True, eq=False)
class Basis:
    r"""The functions of a vector along which users move: :math:`\psi(x) = (1, V^\top x, \cos \Omega x, \sin \Omega x)`.

    Attributes:
        center: mean of the users, ``[d]``.
        axes: white axes, the longest first, ``[d, a]``.
        frequencies: along the axes that attackers read, ``[d, F]``.
    """

    center: Tensor
    axes: Tensor
    frequencies: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """The functions at ``embeddings [n, d]``: ``[n, 1 + a + 2F]``."""
        points = embeddings - self.center
        phases = points @ self.frequencies
        return torch.cat([torch.ones_like(points[:, :1]), points @ self.axes, phases.cos(), phases.sin()], dim=1)


@dataclass(frozen=True, eq=False)
class UserMap:
    r"""The defense as a function of a vector: :math:`g(x) = x + \sum_c r_c(x)\, \psi(x)^\top A_c`.

    :math:`r_c(x)` is how far the probability of a class is from its mean over users. For a map that does not depend
    on a user's label, two releases tell no more of it than the first (data processing). Labels shape this map a little:
    it has few weights and strong penalties, and what it adds is measured. Entries of x that are exactly zero stay,
    because which units of a tower are silent depends on the class.

    Attributes:
        features: what gives the probabilities, :math:`\phi`.
        readouts: the weights of :class:`Readout` of each attribute, ``[W + 1, K]``.
        means: of each class's probability but the last class's, over users and attribute by attribute, ``[C]``.
        basis: :math:`\psi`.
        weights: A, ``[C, D, d]``.
    """

    features: Features
    readouts: tuple[Tensor, ...]
    means: Tensor
    basis: Basis
    weights: Tensor

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, silent: Tensor | None = None) -> Tensor:
        """Maps users at ``embeddings [n, d]``, who need no label, to ``[n, d]``; :func:`learn_map` has ``silent``."""
        # All attributes are read at once: the features take the time.
        readouts, sizes = torch.cat(self.readouts, dim=1), [each.shape[1] for each in self.readouts]
        chunk = _CHUNK_ON_GPU if embeddings.is_cuda else _CHUNK
        free = (embeddings != 0 if silent is None else ~silent).split(chunk)
        parts = list[Tensor]()
        for users, moves in zip(embeddings.split(chunk), free, strict=True):
            logits = self.features.times(users, readouts[:-1]) + readouts[-1]
            said = [torch.softmax(each, dim=1) for each in logits.split(sizes, dim=1)]
            functions, way = self.basis(users), torch.zeros_like(users)
            for residual, weights in zip((_columns(said) - self.means).t(), self.weights, strict=True):
                way.addcmul_(residual.unsqueeze(1), functions @ weights)
            parts.append(users + moves * way)
        return torch.cat(parts) if parts else embeddings.clone()

    def to(self, device: torch.device | str) -> UserMap:
        """The same map with its tensors on a device."""
        return self.from_state({name: tensor.to(device) for name, tensor in self.state().items()})

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, from which :meth:`from_state` makes it again."""
        state = {"means": self.means, "weights": self.weights}
        for part in ("features", "basis"):
            owner = getattr(self, part)
            state |= {f"{part}.{field.name}": getattr(owner, field.name) for field in fields(owner)}
        return state | {f"readout.{a}": weights for a, weights in enumerate(self.readouts)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> UserMap:
        """The map of :meth:`state`; raises KeyError where a tensor is missing."""
        features = Features(**{field.name: state[f"features.{field.name}"] for field in fields(Features)})
        basis = Basis(**{field.name: state[f"basis.{field.name}"] for field in fields(Basis)})
        count = sum(name.startswith("readout.") for name in state)
        readouts = tuple(state[f"readout.{a}"] for a in range(count))
        return cls(features, readouts, state["means"], basis, state["weights"])


def learn_map(
    embeddings: Tensor,
    posteriors: Sequence[Posterior],
    labels: Tensor,
    max_steps: int = 100,
    *,
    silent: Tensor | None = None,
    activity: Tensor | None = None,
    seed: int = 0,
    exact_users: int = FEW_USERS,
) -> tuple[Tensor, Alignment, UserMap]:
    """Learns a map after which the statistics of :class:`MixedDiscrepancy` are at chance, and moves its users.

    The map has few parameters, so it fits no single user. :func:`align` finds it, from at most 20,000 users, who are
    drawn; all others are mapped.

    Args:
        embeddings: where users are, ``[n, d]``.
        posteriors: of each attribute, with the same features. All users move by their readouts. Users who moved by
            cross-fitted probabilities would show where their fold stands from all others, and so the fold's labels.
        labels: ``[n, A]``; negative where not known. They say when classes are at chance. Where a user goes they say
            only through the weights of the map, which all users share.
        max_steps: most steps of the descent.
        silent: entries that stay, ``[n, d]``; those that are exactly zero where ``None``.
        activity: see :class:`MixedDiscrepancy`.
        seed: of random features, and of the draw.
        exact_users: see :class:`MixedDiscrepancy`.

    Returns:
        Where users end, ``[n, d]``; how the descent went; and the map, for users who come later.

    Raises:
        ValueError: see :class:`MixedDiscrepancy`.
    """
    everyone = embeddings.detach().float()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(everyone), generator=generator)[:MOST].sort().values.to(everyone.device)
    users = everyone[drawn]
    said = [posterior.readout(users) for posterior in posteriors]
    known = labels.to(users.device)[drawn]
    active = None if activity is None else activity.to(users.device)[drawn]
    discrepancy = MixedDiscrepancy(users, known, said, activity=active, seed=seed, exact_users=exact_users)
    means = _columns(said).mean(0)
    residuals = _columns(said) - means
    basis = _basis(users, residuals, generator)
    design = _design(residuals, basis(users))
    # Random features along few axes depend on each other: only directions in which users differ can move them.
    values, vectors = torch.linalg.eigh(design.t().double() @ design.double() / len(users))
    kept = values > _DEPENDENT * values[-1]
    whitening = (vectors[:, kept] * values[kept].rsqrt()).to(users)
    free = users != 0 if silent is None else ~silent[drawn]
    target = _Moved(users, design @ whitening, free)
    outcome = align(target, discrepancy, max_steps, replayed=True)
    weights = whitening @ target.parameters[0]
    shape = residuals.shape[1], -1, users.shape[1]
    features, readouts = posteriors[0].readout.features, tuple(p.readout.weights for p in posteriors)
    learned = UserMap(features, readouts, means, basis, weights.view(shape))
    return learned(everyone, silent).to(embeddings), outcome, learned


class _Moved:
    """What :func:`align` moves: the weights of white columns ``[n, P]``, by which all users move together."""

    def __init__(self, users: Tensor, white: Tensor, free: Tensor) -> None:
        self._users, self._white, self._free = users, white, free
        self.parameters = [users.new_zeros(white.shape[1], users.shape[1])]
        # A step of one unit in every weight moves users by one standard deviation.
        self._unit = users.std(0) / white.shape[1] ** 0.5

    def embeddings(self) -> Tensor:
        """See :meth:`.Movable.embeddings`."""
        return self._users + self._free * (self._white @ self.parameters[0])

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`.Movable.pull_back`."""
        return [self._white.t() @ (gradient * self._free)]

    def scales(self) -> list[Tensor]:
        """See :meth:`.Movable.scales`."""
        return [self._unit]


def _columns(probabilities: Sequence[Tensor]) -> Tensor:
    """The probabilities of all classes but the last of each attribute, side by side, ``[n, C]``."""
    return torch.cat([each[:, :-1] for each in probabilities], dim=1)


def _design(residuals: Tensor, functions: Tensor) -> Tensor:
    """All products of ``residuals [n, C]`` and ``functions [n, D]``: ``[n, C D]``."""
    return (residuals.unsqueeze(2) * functions.unsqueeze(1)).flatten(1)


def _basis(users: Tensor, residuals: Tensor, generator: torch.Generator) -> Basis:
    center = users.mean(0)
    points = users - center
    values, vectors = torch.linalg.eigh(points.t().double().cov().view(points.shape[1], -1))
    values, vectors = values.flip(0), vectors.flip(1)
    axes = (vectors * values.clamp_min(_FLOOR * float(values[0])).rsqrt()).to(users)
    room = max(1, int(WEIGHTS_A_USER * len(users) / residuals.shape[1]) - 1)
    n_random = min(FREQUENCIES, room // 4)
    axes = axes[:, : room - 2 * n_random]
    space = read_axes(points, residuals.t(), generator)
    draws = torch.randn(space.width, FREQUENCIES, generator=generator).to(users) / (_BANDWIDTH * space.width) ** 0.5
    return Basis(center, axes, space.basis @ draws[:, :n_random])
