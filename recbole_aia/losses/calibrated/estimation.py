"""Class probabilities that known labels teach: one function of the vector, and cross-fitted ones to judge it by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FOLDS = 8  # of users with a label; each fold's probabilities are learned from the seven others
FEWEST = 20  # users with a label, below which nothing can be learned in folds
MOST = 20_000  # users with a label who are learned from at most; more add time and little else
_AXES = 20  # longest axes whose products are features: more need more users than a recommender's cohort often has
_FREQUENCIES = 128  # random Fourier features of a Gaussian kernel, a cosine and a sine each
_RIDGES = (300.0, 3e4, 3e4)  # penalties of linear, quadratic and random features; smaller ones fit single users
_EMPTY = 1e-3  # an axis is stretched no further than if its eigenvalue were this share of the largest
_ITERATIONS = 40  # accelerated steps of the regressions
_JITTER = 1e-6  # keeps the factor of a Gram matrix of more features than users positive


@dataclass(frozen=True, eq=False)
class Features:
    r"""What probabilities are learned from: functions :math:`\phi` of a vector, of three kinds.

    They are the standardized dimensions, the products of all pairs of the longest axes, and random Fourier features.

    Attributes:
        center: mean of the users, ``[d]``.
        scale: standard deviation of each dimension, ``[d]``; infinite where a dimension is the same for all.
        axes: from standardized dimensions to the longest axes, ``[d, a]``.
        frequencies: of the random features, ``[d, F]``.
        offset: mean of the features, ``[W]``.
        unit: what each feature is divided by, which holds its ridge penalty, ``[W]``.
    """

    center: Tensor
    scale: Tensor
    axes: Tensor
    frequencies: Tensor
    offset: Tensor
    unit: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        r""":math:`\phi` of users at ``embeddings [n, d]``: ``[n, W]``."""
        points = (embeddings - self.center) / self.scale
        along = points @ self.axes
        first, second = torch.triu_indices(along.shape[1], along.shape[1], device=along.device)
        phases = points @ self.frequencies
        raw = torch.cat([points, along[:, first] * along[:, second], phases.cos(), phases.sin()], dim=1)
        return (raw - self.offset) / self.unit

    def times(self, embeddings: Tensor, weights: Tensor) -> Tensor:
        r""":math:`\phi(x)^\top B` of users at ``embeddings [n, d]``, ``[n, K]``.

        Equal to ``self(embeddings) @ weights`` up to rounding, and several times faster: the features, which are many
        more than the dimensions, are never written down.

        Args:
            embeddings: ``[n, d]``.
            weights: B, ``[W, K]``.
        """
        points = (embeddings - self.center) / self.scale
        along, phases = points @ self.axes, points @ self.frequencies
        (n, a), n_columns = along.shape, weights.shape[1]
        first, second = torch.triu_indices(a, a, device=along.device)
        scaled = weights / self.unit.unsqueeze(1)
        sizes = [points.shape[1], len(first), phases.shape[1], phases.shape[1]]
        linear, products, cosines, sines = scaled.split(sizes)
        # Weights of products of pairs are the upper half of one quadratic form for each column.
        forms = along.new_zeros(n_columns, a, a)
        forms[:, first, second] = products.t()
        bent = along @ forms.permute(2, 0, 1).flatten(1)
        quadratic = (bent.view(n, n_columns, a) * along.unsqueeze(1)).sum(2)
        found: Tensor = (
            points @ linear + quadratic + phases.cos() @ cosines + phases.sin() @ sines - self.offset @ scaled
        )
        return found

    @classmethod
    @torch.no_grad()
    def of(cls, embeddings: Tensor, seed: int = 0) -> Features:
        """The features that suit users at ``embeddings [n, d]``; at most 20,000 of them, drawn, decide."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(len(embeddings), generator=generator)[:MOST].to(embeddings.device)
        users = embeddings[drawn].float()
        center, scale = users.mean(0), users.std(0)
        # Dividing by infinity takes a dimension out that is the same for all.
        scale = scale.masked_fill(scale <= torch.finfo(scale.dtype).eps * scale.max(), torch.inf)
        points = (users - center) / scale
        values, vectors = torch.linalg.eigh(points.t().double().cov().view(points.shape[1], -1))
        longest = slice(max(0, len(values) - _AXES), None)
        axes = vectors[:, longest] * values[longest].clamp_min(_EMPTY * float(values[-1])).rsqrt()
        frequencies = torch.randn(points.shape[1], _FREQUENCIES, generator=generator).to(users) / points.shape[1] ** 0.5
        sizes = points.shape[1], axes.shape[1] * (axes.shape[1] + 1) // 2, 2 * _FREQUENCIES
        nothing = users.new_zeros(sum(sizes))
        plain = cls(center, scale, axes.to(users), frequencies, nothing, nothing + 1)
        raw = plain(users)
        penalties = torch.cat([torch.full((n,), r**0.5) for n, r in zip(sizes, _RIDGES, strict=True)]).to(users)
        spread = raw.std(0)
        unit = (spread * penalties).masked_fill(spread <= torch.finfo(spread.dtype).eps, torch.inf)
        return replace(plain, offset=raw.mean(0), unit=unit)


@dataclass(frozen=True, eq=False)
class Readout:
    r"""Class probabilities as a function of a vector: :math:`p(x) = \operatorname{softmax}(\phi(x)^\top B + b)`.

    Attributes:
        features: :math:`\phi`.
        weights: B, and b as the last row, ``[W + 1, K]``.
    """

    features: Features
    weights: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Probabilities ``[n, K]`` of users at ``embeddings [n, d]``."""
        return torch.softmax(self.features.times(embeddings, self.weights[:-1]) + self.weights[-1], dim=1)

    def said(self, features: Tensor) -> Tensor:
        """Probabilities ``[n, K]`` of users with these ``features [n, W]``."""
        return torch.softmax(features @ self.weights[:-1] + self.weights[-1], dim=1)


class Posterior(NamedTuple):
    """Class probabilities of all users, learned from those whose labels are known.

    Attributes:
        probabilities: ``[n, K]``; rows sum to 1.
        fold_of: the fold of each user, ``[n]``; -1 of users whose label was not learned from.
        readout: learned from all labels: one function of the vector for everybody, now and later.
    """

    probabilities: Tensor
    fold_of: Tensor
    readout: Readout


@torch.no_grad()
def cross_fitted_posterior(
    embeddings: Tensor, labels: Tensor, features: Features | None = None, *, folds: int = FOLDS, seed: int = 0
) -> Posterior:
    r"""Estimates :math:`p(k \mid x)` of every user from the labels of users in other folds.

    A penalized logistic regression is learned for each fold from all other folds. At its optimum the residuals of the
    users learned from are orthogonal to every feature, up to the penalty: probabilities are calibrated, and accurate
    for every group that the features describe. Folds are drawn at random and not by class: no user's own label has a
    part in the user's probabilities, directly or by the draw.

    Args:
        embeddings: ``[n, d]``, finite.
        labels: ``[n]``, in ``0..K-1``; negative where a label is not known.
        features: of the embeddings, if they have been taken before.
        folds: >= 2.
        seed: of folds and random features, and of the users who are drawn where more than 20,000 have a label.

    Raises:
        ValueError: fewer than 20 users have a label, or nearly all labels are of one class.

    Source:
        Chernozhukov et al. (2018) for cross-fitting; Kim et al. (2019) for multiaccuracy.
    """
    users = embeddings.detach().float()
    features = features or Features.of(users, seed)
    order = _labelled(labels, seed).to(users.device)
    own = torch.arange(len(order), device=users.device) % folds
    codes, n_classes = labels.to(users.device)[order], int(labels.max()) + 1
    learned = own != torch.arange(folds, device=users.device).unsqueeze(1)
    sizes = learned.float() @ F.one_hot(codes, n_classes).float()
    if int((sizes > 0).sum(1).min()) < 2:
        raise ValueError("nearly all users with a label are of one class")
    found = features(users[order])
    # The last one learns from all.
    weights = _learn(found, codes, n_classes, F.pad(learned, (0, 0, 0, 1), value=True))
    readout = Readout(features, weights[-1])
    probabilities = torch.cat([readout(part) for part in users.split(MOST)])
    for fold in range(folds):
        probabilities[order[own == fold]] = Readout(features, weights[fold]).said(found[own == fold])
    fold_of = torch.full((len(users),), -1, device=users.device)
    fold_of[order] = own
    return Posterior(probabilities.to(embeddings), fold_of, readout)


@torch.no_grad()
def learn_readout(embeddings: Tensor, labels: Tensor, features: Features, *, seed: int = 0) -> Readout:
    """The readout of :func:`cross_fitted_posterior` alone, in a fraction of its time.

    Args:
        embeddings: ``[n, d]``, finite.
        labels: ``[n]``, in ``0..K-1``; negative where a label is not known.
        features: of the embeddings.
        seed: of the users who are drawn where more than 20,000 have a label.

    Raises:
        ValueError: fewer than 20 users have a label, or all labels are of one class.
    """
    users, order = embeddings.detach().float(), _labelled(labels, seed).to(embeddings.device)
    codes, n_classes = labels.to(users.device)[order], int(labels.max()) + 1
    if len(codes.unique()) < 2:
        raise ValueError("nearly all users with a label are of one class")
    everybody = torch.ones(1, len(order), dtype=torch.bool, device=users.device)
    return Readout(features, _learn(features(users[order]), codes, n_classes, everybody)[0])


def _labelled(labels: Tensor, seed: int) -> Tensor:
    """The users who are learned from, in random order."""
    known = (labels >= 0).nonzero().squeeze(1).cpu()
    if len(known) < FEWEST:
        raise ValueError(f"{len(known)} users have a label, and at least {FEWEST} are needed")
    return known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))][:MOST]


def explained(probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""The share of each class's variance that probabilities explain, ``[K]``; 0 where they tell nothing.

    .. math:: 1 - \frac{\sum_i (z_{ik} - p_{ik})^2}{\sum_i (z_{ik} - \bar z_k)^2}

    over users with a label. What probabilities do not explain is not hidden by a defense that uses them, and it is
    what keeps the true label of a user from whoever knows the vector.

    Args:
        probabilities: ``[n, K]``, cross-fitted.
        labels: ``[n]``; negative where a label is not known.
    """
    known = labels >= 0
    indicators = F.one_hot(labels[known], probabilities.shape[1]).to(probabilities)
    residual = (indicators - probabilities[known]).square().sum(0)
    total = (indicators - indicators.mean(0)).square().sum(0)
    return 1 - residual / total.clamp_min(torch.finfo(total.dtype).tiny)


def _learn(features: Tensor, codes: Tensor, n_classes: int, learned: Tensor) -> Tensor:
    """Weights ``[F, W + 1, K]`` of F penalized logistic regressions at once, each from its users.

    All take the same steps side by side. No line search ties one fold's weights to the labels of another.

    Source:
        Boehning and Lindsay (1988) for the bound of the curvature; Nesterov (1983) for the acceleration.

    Args:
        features: ``[n, W]``, in units in which the penalty of every weight is 1.
        codes: ``[n]``.
        n_classes: K.
        learned: who is learned from, ``[F, n]``.
    """
    features = F.pad(features, (0, 1), value=1.0)
    folds, penalty = len(learned), torch.ones(features.shape[1], 1).to(features)
    penalty[-1] = 0
    # Half the Gram matrix bounds the curvature for every fold, so each step is safe, and depends on no label.
    bound = features.t() @ features / 2 + torch.diag(penalty[:, 0])
    factor = torch.linalg.cholesky(bound + _JITTER * bound.diagonal().mean() * torch.eye(len(bound)).to(bound))
    target, counted = F.one_hot(codes, n_classes).to(features).unsqueeze(1), learned.t().to(features).unsqueeze(2)
    weights = ahead = features.new_zeros(features.shape[1], folds * n_classes)
    for step in range(_ITERATIONS):
        wrong = (torch.softmax((features @ ahead).view(-1, folds, n_classes), dim=2) - target) * counted
        slope = features.t() @ wrong.flatten(1) + penalty * ahead
        before, weights = weights, ahead - torch.cholesky_solve(slope, factor)
        ahead = weights + step / (step + 3) * (weights - before)
    return weights.view(-1, folds, n_classes).transpose(0, 1)
