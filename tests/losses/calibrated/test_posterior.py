"""Posteriors in the place of labels: the same statistics where they are sure, and nothing where they say nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recbole_aia.losses import ClassDiscrepancy, MixedDiscrepancy, PosteriorDiscrepancy, align_vectors


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
    users, posterior, _ = population(24, 2)
    users, posterior = users.double(), posterior.double()
    discrepancy = PosteriorDiscrepancy(users, [posterior])
    leaf = users.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: discrepancy(x).sum(), leaf, atol=1e-4, fast_mode=True)


def test_users_who_move_until_posteriors_are_at_chance_hide_their_labels():
    users, posterior, labels = population()
    moved, outcome = align_vectors(users, PosteriorDiscrepancy(users, [posterior]), 60)
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


class TestMixedDiscrepancy:
    def setup_method(self):
        self.users, self.posterior, labels = population()
        self.labels = labels.unsqueeze(1)
        self.read = (self.posterior[:, :1] - self.posterior[:, :1].mean(0)).t()
        self.moved = self.users + 0.1 * self.users.flip(0)

    def mixed(self, labels):
        return MixedDiscrepancy(self.users, labels, [self.posterior])

    def known(self, labels):
        return ClassDiscrepancy(self.users, labels, read=self.read)(self.moved)

    def unknown(self, among):
        return PosteriorDiscrepancy(self.users, [self.posterior], among=among, read=self.read)(self.moved)

    def test_labels_alone_speak_where_all_are_known(self):
        torch.testing.assert_close(self.mixed(self.labels)(self.moved), self.known(self.labels))

    def test_posteriors_alone_speak_where_none_is_known(self):
        nobody = torch.full_like(self.labels, -1)
        found = self.mixed(nobody)(self.moved)
        torch.testing.assert_close(found, PosteriorDiscrepancy(self.users, [self.posterior])(self.moved))

    def test_each_group_has_columns_of_its_own(self):
        labels = self.labels.clone()
        labels[150:] = -1
        expected = [self.known(labels), self.unknown(labels < 0)]
        torch.testing.assert_close(self.mixed(labels)(self.moved), torch.cat(expected, dim=1))
        assert [each.shape[1] for each in expected] == [2, 1]

    def test_groups_are_those_of_each_attribute(self):
        labels = torch.cat([self.labels, self.labels], dim=1)
        labels[150:, 1] = -1
        both = MixedDiscrepancy(self.users, labels, [self.posterior, self.posterior])
        # Two classes of each attribute by labels, and the second attribute once more for those who have none.
        assert [len(part.classes) for part in both.parts] == [4, 1]
        assert both(self.moved).shape[1] == 5

    @pytest.mark.parametrize(("count", "columns"), [(19, 2), (20, 3)])
    def test_too_few_unknown_users_are_no_group(self, count, columns):
        labels = self.labels.clone()
        labels[:count] = -1
        assert self.mixed(labels)(self.moved).shape[1] == columns

    def test_it_knows_when_users_have_left_its_range(self):
        labels = self.labels.clone()
        labels[150:] = -1
        assert self.mixed(labels).fits(self.users)
        assert not self.mixed(labels).fits(10 * self.users)


class TestActivity:
    """Classes that are at chance on average, and stand apart at each level of activity."""

    def setup_method(self):
        generator = torch.Generator().manual_seed(1)
        self.users = torch.randn(2100, 3, generator=generator)
        self.labels = torch.randint(2, (2100, 1), generator=generator)
        self.activity = torch.randperm(2100, generator=generator)
        # Apart among the most active, the other way round among the least active, together in the middle.
        level = (self.activity * 3 // 2100 - 1).unsqueeze(1)
        self.users[:, :1] += 0.8 * level * (2 * self.labels - 1)
        self.posterior = torch.nn.functional.one_hot(self.labels[:, 0], 2).float() * 0.8 + 0.1

    def linear(self, labels, activity):
        mixed = MixedDiscrepancy(self.users, labels, [self.posterior], activity=activity)
        return mixed(self.users)[mixed.parts[0].kernels.index("standardized linear")]

    def test_each_third_is_compared_where_activity_is_known(self):
        everybody, *thirds = self.linear(self.labels, self.activity).view(4, 2)[:, 0].tolist()
        assert abs(everybody) < 3
        assert thirds[0] > 30
        assert abs(thirds[1]) < 3
        assert thirds[2] > 30

    def test_each_third_of_the_unknown_is_compared(self):
        everybody, *thirds = self.linear(torch.full_like(self.labels, -1), self.activity).tolist()
        assert abs(everybody) < min(thirds[0], thirds[2]) / 5

    def test_few_users_are_not_compared_by_thirds(self):
        few = slice(2048)
        mixed = MixedDiscrepancy(self.users[few], self.labels[few], [self.posterior[few]], activity=self.activity[few])
        assert mixed(self.users[few]).shape[1] == 2
