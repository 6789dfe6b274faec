"""Posteriors in the place of labels: the same statistics where they are sure, and nothing where they say nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recbole_aia.losses import ClassDiscrepancy, PosteriorDiscrepancy, align_vectors


def population(n=400, d=6, seed=0):
    """Users whose first dimension tells which of two classes is likely, their posterior and their labels."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(n, d, generator=generator)
    second = (2 * users[:, 0]).sigmoid()
    labels = (torch.rand(n, generator=generator) < second).long()
    return users, torch.stack([1 - second, second], dim=1), labels


@pytest.mark.parametrize("n_classes", [3, 5])
@pytest.mark.parametrize("exact_users", [0, 1000])
def test_sure_posteriors_give_the_statistics_of_labels(n_classes, exact_users):
    users, labels = population()[0], torch.arange(400) % n_classes
    users[:, 0] += 0.5 * labels
    soft = PosteriorDiscrepancy(users, [F.one_hot(labels).float()], exact_users=exact_users)
    hard = ClassDiscrepancy(users, labels.unsqueeze(1), exact_users=exact_users)
    shared = len(hard.kernels)
    assert soft.kernels[:shared] == hard.kernels
    assert {kernel[:9] for kernel in soft.kernels[shared:]} == {"read axes"}
    found, expected = soft(users)[:shared, :n_classes], hard(users)[:, :n_classes]
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.01)


def test_posteriors_that_know_nothing_have_mean_zero_and_their_share_of_the_deviation_of_labels():
    users = population()[0]
    said = [torch.from_numpy(np.random.default_rng(seed).dirichlet([1, 1], 400)) for seed in range(500)]
    statistics = PosteriorDiscrepancy(users, said, exact_users=0)(users)
    assert float(statistics.mean()) == pytest.approx(0, abs=0.15)  # three standard errors
    # Uniform probabilities have a variance of 1/12 and leave 1/6, and labels drawn from them have the sum of both.
    assert float(statistics.std(1).mean()) == pytest.approx(1 / 3, abs=0.03)


def test_in_expectation_they_are_what_labels_drawn_from_them_give():
    users, posterior, _ = population(2000)
    second = posterior[:, 1].numpy()
    soft = PosteriorDiscrepancy(users, [posterior], exact_users=0)
    found = float(soft(users)[0, 0])
    drawn = []
    for seed in range(40):
        labels = torch.from_numpy((np.random.default_rng(seed).random(2000) < second).astype(np.int64))
        hard = PosteriorDiscrepancy(users, [F.one_hot(labels, 2).float()], exact_users=0)
        drawn.append(float(hard(users)[0, 0]))
    assert found == pytest.approx(np.mean(drawn), rel=0.1)


def test_a_gradient_is_that_of_differences():
    users, posterior, _ = population(60, 3)
    users, posterior = users.double(), posterior.double()
    discrepancy = PosteriorDiscrepancy(users, [posterior])
    assert torch.autograd.gradcheck(lambda x: discrepancy(x).sum(), users.clone().requires_grad_(), atol=1e-4)


def test_nobodys_own_label_has_a_part_in_where_a_user_goes():
    """The movement is a function of vectors and posteriors; what a user's label is does not enter at all."""
    users, posterior, labels = population()
    moved, outcome = align_vectors(users, PosteriorDiscrepancy(users, [posterior]), 60)
    again, _ = align_vectors(users, PosteriorDiscrepancy(users, [posterior]), 60)
    assert torch.equal(moved, again)
    assert outcome.after < outcome.before / 20
    before, after = (float(np.corrcoef(each[:, 0], labels)[0, 1]) for each in (users, moved))
    assert abs(after) < 0.4 * before


def test_an_order_is_judged_from_four_classes_on():
    users = population()[0]
    posterior = torch.softmax(users[:, :4], dim=1)
    assert PosteriorDiscrepancy(users, [posterior]).classes == [(0, 0), (0, 1), (0, 2), (0, 3), (0, -1)]
    assert PosteriorDiscrepancy(users, [posterior[:, :3]]).classes == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize(
    ("posteriors", "words"),
    [
        ([], "no posterior"),
        ([torch.full((400, 2), 0.5)], "same for all users"),
        ([torch.ones(399, 2)], "for 400 users"),
        ([torch.ones(400, 1)], "for 400 users"),
    ],
)
def test_what_says_nothing_is_refused(posteriors, words):
    with pytest.raises(ValueError, match=words):
        PosteriorDiscrepancy(population()[0], posteriors)
