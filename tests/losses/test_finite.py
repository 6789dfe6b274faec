"""Every loss and its gradient are finite: at any scale, for equal users, many classes and classes of one user."""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recbole_aia.losses import (
    ClassDiscrepancy,
    ClassDivergence,
    Features,
    PosteriorDiscrepancy,
    align_vectors,
    clip_rows,
    cross_fitted_posterior,
    defensive_loss,
    distribution_to_distribution,
    gradient_length,
    learn_map,
    min_norm_weight,
    penalized_barycenter,
    rank_margin,
    solve_coupling,
    transport,
    user_to_user,
)


def by_class(embeddings, labels):
    return [embeddings[labels == k] for k in labels.unique()]


def raid(embeddings, labels, method="semi_dual"):
    classes = by_class(embeddings.detach(), labels)
    coupling = solve_coupling(method, classes, penalized_barycenter(classes, n_atoms=5, max_iterations=20))
    codes, targets = labels.unique(return_inverse=True)[1], torch.empty_like(embeddings)
    for k, users in enumerate(classes):
        targets[codes == k] = coupling.targets(users, k, torch.arange(len(users))).to(targets)
    return defensive_loss(embeddings, targets, codes, len(classes))


def attrcloak(embeddings, labels, covariance="ledoit_wolf"):
    return ClassDivergence(embeddings, labels.unsqueeze(1), covariance)(embeddings)


def calibrated(embeddings, labels):
    return ClassDiscrepancy(embeddings, labels.unsqueeze(1))(embeddings)


def posteriors(embeddings, labels):
    features = Features.of(embeddings.detach())
    return [cross_fitted_posterior(embeddings.detach(), labels, features)]


def by_posterior(embeddings, labels):
    probabilities = [each.probabilities for each in posteriors(embeddings, labels)]
    return PosteriorDiscrepancy(embeddings.detach(), probabilities)(embeddings)


def ranks(embeddings, labels):
    return rank_margin(embeddings)


def clipped(embeddings, labels):
    return clip_rows(embeddings, 1.0).sum() + clip_rows(embeddings, 1e-3, 1).sum()


def weighting(embeddings, labels):
    half = embeddings[: len(embeddings) // 2]
    return min_norm_weight(half.detach(), 2 * half.detach()) + gradient_length([embeddings])


LOSSES = {
    "raid": raid,
    "raid exact": lambda e, y: raid(e, y, "exact"),
    "raid kl": lambda e, y: raid(e, y, "kl_projection"),
    "attrcloak": attrcloak,
    "attrcloak ridge": lambda e, y: attrcloak(e, y, "ridge"),
    "u2u": user_to_user,
    "d2d": distribution_to_distribution,
    "calibrated": calibrated,
    "calibrated by posterior": by_posterior,
    "ranks": ranks,
    "clipped": clipped,
    "weighting": weighting,
}


def mapped(embeddings, labels):
    return learn_map(embeddings, posteriors(embeddings, labels), labels.unsqueeze(1), max_steps=3)[0]


def aligned(embeddings, labels):
    return align_vectors(embeddings, ClassDiscrepancy(embeddings, labels.unsqueeze(1)), max_steps=3)[0]


MOVES = {"map": mapped, "descent": aligned, "transport": lambda e, y: transport(e, y.unsqueeze(1))}


@st.composite
def users(draw):
    """Users and their classes: scale, precision, dimensions, equal users, K and the sizes of classes."""
    n_classes = draw(st.sampled_from([2, 3, 7, 50]))
    sizes = [draw(st.integers(1, 12)) for _ in range(min(n_classes, 6))] + [2] * (n_classes - 6)
    sizes[:2] = [10 + size for size in sizes[:2]]  # posteriors take 20 users
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    embeddings = torch.randn(len(labels), draw(st.sampled_from([2, 3, 8])), generator=generator, dtype=dtype)
    embeddings = embeddings + draw(st.sampled_from([0.0, 3.0]))
    if draw(st.booleans()):
        embeddings = embeddings[torch.randint(max(2, len(labels) // 3), (len(labels),), generator=generator)]
    return embeddings * 10.0 ** draw(st.integers(-6, 6)), labels


@pytest.mark.parametrize("name", LOSSES)
@given(case=users())
@settings(max_examples=15, deadline=None, phases=[Phase.generate], derandomize=True, database=None)
def test_value_and_gradient_are_finite(name, case):
    embeddings, labels = case
    embeddings = embeddings.clone().requires_grad_()
    value = LOSSES[name](embeddings, labels)
    assert value.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), embeddings)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", MOVES)
@given(case=users())
@settings(max_examples=8, deadline=None, phases=[Phase.generate], derandomize=True, database=None)
def test_where_users_end_is_finite(name, case):
    assert MOVES[name](*case).isfinite().all()
