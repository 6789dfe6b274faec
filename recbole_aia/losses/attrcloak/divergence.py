"""How far Gaussian classes of users are from all users together: the unlearning loss of AttrCloak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.losses.attrcloak.gaussian import ledoit_wolf_shrinkage, log_det
from recbole_aia.losses.shared.inputs import check_movers
from recbole_aia.losses.shared.moments import Cells, class_moments
from recbole_aia.losses.shared.sums import add_groups

CovarianceMethod = Literal["ledoit_wolf", "ridge", "full", "full_or_ridge"]

_RIDGE = 1e-2  # weight of the sphere under ``ridge``, and of what a singular covariance is mixed with
_BYSTANDERS = 1 << 62  # label of those who move for another attribute only: they count among all users
_FEWEST = 2  # users that a class needs to have a covariance


class ClassDivergence:
    r"""The unlearning loss of one or several attributes as a function of the embeddings of users who may move.

    .. math:: \mathcal L^{AU}_j = \sum_k \frac{N_k}{N}\,
        D_{KL}\bigl(\mathcal N(\mu_{j,k}, \Sigma_{j,k}) \,\|\, \mathcal N(\mu_j, \Sigma_j)\bigr)

    A class has the users who move and hide that attribute. "All users" are everybody who has a label of it, those who
    move for another attribute and the ``others`` included.

    The covariance of few users is mostly noise, and a descent would remove the noise at the price of recommendations.
    So the covariance of every class is shrunk towards that of all users, and that of all users towards a sphere.
    Classes that are alike stay alike under both. The weights are estimated once, here: the loss stays the same function
    while users move. A class of equal users, say, whose covariance is singular all the same, is mixed with 0.01 of that
    of all users.

    A step costs a product ``[d, N] x [N, d]`` for each attribute, and another of that size backward.

    Args:
        embeddings: where the users are now, ``[n, d]``.
        labels: what is to be hidden, ``[n, A]``, integers; negative where there is nothing.
        covariance: ``ledoit_wolf`` estimates the weights; ``ridge`` mixes 0.01 of a sphere into every covariance and
            does not shrink classes towards all users; ``full`` shrinks nothing; ``full_or_ridge`` does as ``ridge``
            with covariances that are singular at the start, as those of no more users than dimensions are, and shrinks
            nothing else.
        others: embeddings of users who stay, ``[m, d]``.
        other_labels: their labels, ``[m, A]``.
        known: the labels of those who move whether they are to be hidden or not, ``[n, A]``; ``labels`` where ``None``.

    Attributes:
        left_out: (attribute, class) of classes with a single user. Such a class has no covariance, and its user does
            not take part.

    Raises:
        ValueError: shapes disagree, an attribute has no class of two users, or an unknown method.

    Source:
        AttrCloak, eq. 13-19. Shrinkage is ours: a covariance of fewer users than dimensions is singular.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        covariance: CovarianceMethod = "ledoit_wolf",
        others: Tensor | None = None,
        other_labels: Tensor | None = None,
        known: Tensor | None = None,
    ) -> None:
        others = embeddings[:0] if others is None else others
        other_labels = labels[:0] if other_labels is None else other_labels
        check_movers(embeddings, labels, others, other_labels)
        labels, other_labels = labels.to(embeddings.device), other_labels.to(embeddings.device)
        known = None if known is None else known.to(embeddings.device)
        embeddings, others = embeddings.detach(), others.detach()
        classes, named, self.left_out = _classes(labels)
        taking_part = labels.clone()
        for a, k in self.left_out:
            taking_part[labels[:, a] == k, a] = -1
        if known is not None:
            bystanders = (labels < 0) & (known >= 0)
            classes += [users.nonzero().squeeze(1) for users in bystanders.t() if users.any()]
            named += [(a, _BYSTANDERS) for a, users in enumerate(bystanders.t()) if users.any()]
            taking_part[bystanders] = _BYSTANDERS
        attributes, sizes = [a for a, _ in named], [len(users) for users in classes]
        self._cells = Cells(taking_part.clamp_min(-1), named, embeddings)
        own = torch.tensor(attributes, device=embeddings.device)
        counts = F.one_hot(own).t().double() * torch.tensor(sizes, device=own.device)
        totals = counts.sum(1, keepdim=True) + (other_labels >= 0).sum(0).to(counts).unsqueeze(1)
        asked = counts * torch.tensor([k != _BYSTANDERS for _, k in named], device=own.device)
        weights = asked / asked.sum(1, keepdim=True)
        spheres, pools = _shrinkages(covariance, embeddings, classes, own, others, other_labels)
        # Bystanders have no loss. Their covariance is that of all users, so that it has a factor in any case.
        pools[[k == _BYSTANDERS for _, k in named]] = 1.0
        self._groups = _Groups(
            attributes=own,
            weights=weights,
            global_weights=counts / totals,
            staying=_staying_moments(others - self._cells.center, other_labels, totals),
            spheres=spheres.to(counts).view(-1, 1, 1),
            pools=pools.to(counts).view(-1, 1, 1),
        )

    def __call__(self, embeddings: Tensor) -> Tensor:
        r"""The losses :math:`\mathcal L^{AU}_j` ``[A]`` of users at ``embeddings [n, d]``, differentiable.

        Raises:
            torch.linalg.LinAlgError: a covariance is not positive definite, as with ``full`` and few users.
        """
        losses: Tensor = _Divergences.apply(*class_moments(embeddings, self._cells), self._groups)  # type: ignore[no-untyped-call]
        return losses


@dataclass(frozen=True)
class _Groups:
    """How C classes make up A attributes."""

    attributes: Tensor  # [C], the attribute of each class
    weights: Tensor  # [A, C], N_k / N among those who move
    global_weights: Tensor  # [A, C], N_k / N among all
    staying: tuple[Tensor, Tensor]  # what users who stay add to the moments of all, [A, d] and [A, d, d]
    spheres: Tensor  # [C + A, 1, 1], weights of a sphere
    pools: Tensor  # [C, 1, 1], weights of all users in the covariance of a class

    def to(self, dtype: torch.dtype) -> _Groups:
        """The same in another precision, for the gradient. What staying users add is left as it is: it has none."""
        if self.weights.dtype == dtype:
            return self
        tensors = (self.weights, self.global_weights, self.spheres, self.pools)
        weights, global_weights, spheres, pools = (tensor.to(dtype) for tensor in tensors)
        return _Groups(self.attributes, weights, global_weights, self.staying, spheres, pools)

    def shrunk(self, covariances: Tensor) -> Tensor:
        r"""Covariances ``[C + A, d, d]`` of classes and of all users, shrunk.

        .. math:: R(\Sigma) = (1 - \rho) \Sigma + \rho \tfrac{\operatorname{tr} \Sigma}{d} I, \qquad
            (1 - \pi_k) R(\Sigma_k) + \pi_k R(\Sigma)
        """
        rounded, n = self._rounded(covariances), len(self.pools)
        rounded[:n].lerp_(rounded[n:][self.attributes], self.pools)
        return rounded

    def unshrunk(self, gradients: Tensor) -> Tensor:
        """Gradients ``[C + A, d, d]`` of covariances, given those of the shrunk ones."""
        n = len(self.pools)
        of_all = add_groups(gradients[n:], self.attributes, gradients[:n] * self.pools)
        return self._rounded(torch.cat([gradients[:n] * (1 - self.pools), of_all]))

    def _rounded(self, matrices: Tensor) -> Tensor:
        """``R`` of :meth:`shrunk` for each matrix. The map is symmetric, so it takes gradients back too."""
        sphere = self.spheres.flatten() * matrices.diagonal(dim1=1, dim2=2).mean(1)
        rounded = matrices * (1 - self.spheres)
        rounded.diagonal(dim1=1, dim2=2).add_(sphere.unsqueeze(1))
        return rounded

    def pooled(self, weights: Tensor, values: Tensor) -> Tensor:
        """Weighted sums over classes, ``[A, ...]`` of ``[C, ...]``."""
        return (weights @ values.flatten(1)).view(len(weights), *values.shape[1:])


class _Divergences(torch.autograd.Function):
    """The losses ``[A]`` of moments, in double precision. Each covariance is factored once, for value and gradient."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, seconds: Tensor, groups: _Groups) -> Tensor:  # type: ignore[override]
        dtype, means, seconds, n = means.dtype, means.double(), seconds.double(), len(means)
        global_means = groups.pooled(groups.global_weights, means) + groups.staying[0]
        global_seconds = groups.pooled(groups.global_weights, seconds) + groups.staying[1]
        origins = torch.cat([means, global_means])
        covariances = groups.shrunk(torch.cat([seconds, global_seconds]).sub_(_squared(origins)))
        factors = torch.linalg.cholesky(covariances)
        log_dets, of_all = log_det(factors), torch.cholesky_inverse(factors[n:])
        offsets = means - global_means[groups.attributes]
        spread = groups.pooled(groups.weights, covariances[:n] + _squared(offsets))
        traces = (of_all * spread).sum((1, 2))
        ctx.groups = groups.to(dtype)
        # The gradient is taken in the users' own precision. Only the gradient needs the classes' inverses.
        ctx.save_for_backward(*(tensor.to(dtype) for tensor in (origins, factors[:n], of_all, offsets, spread)))
        losses = (log_dets[n:] - groups.weights @ log_dets[:n] - means.shape[1] + traces) / 2
        return losses.to(dtype)

    @staticmethod
    def backward(ctx: Any, of_losses: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        groups, (origins, factors, of_all, offsets, spread) = ctx.groups, ctx.saved_tensors
        own, shares, n = groups.attributes, groups.global_weights.t(), len(offsets)
        weights = (of_losses @ groups.weights).view(-1, 1, 1)
        # First the gradients of the shrunk covariances, then those of the moments from which they and the offsets come.
        of_classes = (of_all[own] - torch.cholesky_inverse(factors)).mul_(weights / 2)
        of_globals = (of_all - of_all @ spread @ of_all).mul_(of_losses.view(-1, 1, 1) / 2)
        of_seconds = groups.unshrunk(torch.cat([of_classes, of_globals]))
        of_offsets = (weights * (of_all[own] @ offsets.unsqueeze(2))).squeeze(2)
        of_means = -2 * (of_seconds @ origins.unsqueeze(2)).squeeze(2)
        of_means[:n] += of_offsets
        of_means[n:] = add_groups(of_means[n:], own, -of_offsets)
        return of_means[:n] + shares @ of_means[n:], of_seconds[:n] + groups.pooled(shares, of_seconds[n:]), None


def _squared(vectors: Tensor) -> Tensor:
    """The outer product of each of ``vectors [n, d]`` with itself, ``[n, d, d]``."""
    return vectors.unsqueeze(2) * vectors.unsqueeze(1)


def _classes(labels: Tensor) -> tuple[list[Tensor], list[tuple[int, int]], list[tuple[int, int]]]:
    """Users of each class that has enough of them, (attribute, class) of each, and the same of the others."""
    users, kept, left_out = list[Tensor](), list[tuple[int, int]](), list[tuple[int, int]]()
    for a, column in enumerate(labels.t()):
        for k in column[column >= 0].unique().tolist():
            of_class = (column == k).nonzero().squeeze(1)
            if len(of_class) >= _FEWEST:
                users.append(of_class)
                kept.append((a, k))
            else:
                left_out.append((a, k))
        if a not in (attribute for attribute, _ in kept):
            raise ValueError(f"attribute {a} has no class with {_FEWEST} users among the {len(labels)} who move")
    return users, kept, left_out


def _staying_moments(others: Tensor, labels: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
    """What users who stay add to the means and second moments of all users, ``[A, d]`` and ``[A, d, d]``."""
    known = labels.ge(0).t().to(totals)
    shares, others = known / totals, others.double()
    return shares @ others, torch.stack([(others * share.unsqueeze(1)).t() @ others for share in shares])


def _shrinkages(
    method: str, embeddings: Tensor, classes: list[Tensor], own: Tensor, others: Tensor, other_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights of the sphere, for classes and then attributes ``[C + A]``, and of all users for each class ``[C]``."""
    if method not in ("ledoit_wolf", "ridge", "full", "full_or_ridge"):
        raise ValueError(f"covariance is {method!r}, expected ledoit_wolf, ridge, full or full_or_ridge")
    estimated, n = method == "ledoit_wolf", len(classes)
    weight = _RIDGE if method == "ridge" else 0.0
    spheres = torch.full((n + other_labels.shape[1],), weight, dtype=torch.float64)
    pools = torch.zeros(n, dtype=torch.float64)
    if method == "full":
        return spheres, pools
    for a, column in enumerate(other_labels.t()):
        members = (own == a).nonzero().flatten().tolist()
        everyone = torch.cat([embeddings[torch.cat([classes[k] for k in members])], others[column >= 0]])
        target = _covariance(everyone)
        if estimated:
            spheres[n + a] = ledoit_wolf_shrinkage(everyone)
        spheres[n + a] = _regular(target, _sphere(target), spheres[n + a], embeddings.dtype)
        rounded = torch.lerp(target, _sphere(target), spheres[n + a].to(target))
        for k in members:
            users = embeddings[classes[k]]
            own_covariance = _covariance(users)
            if method == "full_or_ridge":
                spheres[k] = _regular(own_covariance, _sphere(own_covariance), spheres[k], embeddings.dtype)
                continue
            spheres[k] = spheres[n + a]
            own_rounded = torch.lerp(own_covariance, _sphere(own_covariance), spheres[k].to(target))
            if estimated:
                pools[k] = ledoit_wolf_shrinkage(users, target)
            pools[k] = _regular(own_rounded, rounded, pools[k], embeddings.dtype)
    return spheres, pools


def _covariance(users: Tensor) -> Tensor:
    return users.t().cov(correction=0).double()


def _sphere(covariance: Tensor) -> Tensor:
    return torch.eye(len(covariance)).to(covariance) * covariance.diagonal().mean()


def _regular(matrix: Tensor, towards: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight of ``towards``, larger where the mixture is singular: equal users have no covariance to estimate."""
    least = torch.linalg.eigvalsh(torch.lerp(matrix, towards, weight.to(matrix)))[0]
    singular = least <= len(matrix) * torch.finfo(dtype).eps * towards.diagonal().mean()
    return weight.clamp_min(_RIDGE) if singular else weight
