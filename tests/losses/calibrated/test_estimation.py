"""Posteriors: nobody's own label has a part in the user's probabilities, and the probabilities are calibrated."""

import pytest
import torch

from recbole_aia.losses import Features, Posterior, cross_fitted_posterior, explained, learn_readout
from recbole_aia.losses.calibrated import estimation


def population(n=600, d=5, seed=0):
    """Users, the true probability of the second class of two, and labels drawn by it."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(n, d, generator=generator)
    second = (2 * users[:, 0] - users[:, 1] - 0.5).sigmoid()
    return users, second, (torch.rand(n, generator=generator) < second).long()


def test_an_own_label_has_no_part_in_the_users_own_probabilities():
    users, _, labels = population()
    before = cross_fitted_posterior(users, labels)
    flipped = labels.clone()
    flipped[17] = 1 - flipped[17]
    after = cross_fitted_posterior(users, flipped)
    mates = before.fold_of == before.fold_of[17]
    assert torch.equal(before.fold_of, after.fold_of)
    # A fold is learned from all others, so the whole fold of the user stays bit for bit.
    assert torch.equal(before.probabilities[mates], after.probabilities[mates])
    assert (before.probabilities[~mates] != after.probabilities[~mates]).any(1).float().mean() > 0.9


def test_folds_are_drawn_at_random_and_equal_in_size():
    users, _, labels = population()
    fold_of = cross_fitted_posterior(users, labels, folds=4).fold_of
    assert torch.bincount(fold_of).tolist() == [150] * 4
    assert not torch.equal(fold_of, cross_fitted_posterior(users, labels, folds=4, seed=1).fold_of)
    # The draw depends on who has a label and on nothing else.
    assert torch.equal(fold_of, cross_fitted_posterior(users, 1 - labels, folds=4).fold_of)


def test_probabilities_are_near_the_true_ones_and_calibrated_up_to_the_penalty():
    users, second, labels = population(6000)
    found = cross_fitted_posterior(users, labels).probabilities
    torch.testing.assert_close(found.sum(1), torch.ones(6000))
    assert float((found[:, 1] - second).abs().mean()) < 0.05
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        bin_of = (found[:, 1] >= low) & (found[:, 1] < low + 0.2)
        assert abs(float((labels - found[:, 1])[bin_of].mean())) < 0.08


def test_probabilities_see_products_and_not_only_directions():
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(3000, 4, generator=generator)
    labels = (users[:, 0] * users[:, 1] > 0).long()
    found = cross_fitted_posterior(users, labels).probabilities
    assert float(((found[:, 1] > 0.5) == labels).float().mean()) > 0.85


def test_the_readout_can_be_learned_without_folds():
    users, _, labels = population()
    labels[::3] = -1
    features = Features.of(users)
    alone = learn_readout(users, labels, features)
    torch.testing.assert_close(alone.weights, cross_fitted_posterior(users, labels, features).readout.weights)
    with pytest.raises(ValueError, match="of one class"):
        learn_readout(users, labels.clamp_max(0), features)
    with pytest.raises(ValueError, match="at least 20 are needed"):
        learn_readout(users[:19], labels[:19].abs(), features)


def test_users_without_a_label_are_read_by_the_readout_of_all_labels():
    users, second, labels = population(2000)
    known = labels.clone()
    known[500:] = -1
    found = cross_fitted_posterior(users, known)
    assert (found.fold_of[500:] == -1).all()
    assert (found.fold_of[:500] >= 0).all()
    assert torch.equal(found.probabilities[500:], found.readout(users)[500:])
    assert not torch.allclose(found.probabilities[:500], found.readout(users)[:500], atol=1e-4)
    # Few labels are penalized much: probabilities are closer to each other than the true ones, in their order.
    assert float(torch.corrcoef(torch.stack([found.probabilities[500:, 1], second[500:]]))[0, 1]) > 0.9


def test_the_readout_is_one_function_that_every_label_has_its_part_in():
    users, _, labels = population()
    before = cross_fitted_posterior(users, labels)
    for fold in range(estimation.FOLDS):
        flipped = labels.clone()
        user = int((before.fold_of == fold).nonzero()[0])
        flipped[user] = 1 - flipped[user]
        after = cross_fitted_posterior(users, flipped)
        assert after.readout(users)[user, labels[user]] < before.readout(users)[user, labels[user]]


def test_of_more_users_than_are_learned_from_the_others_count_as_unlabelled(monkeypatch):
    monkeypatch.setattr(estimation, "MOST", 200)
    users, _, labels = population()
    found = cross_fitted_posterior(users, labels)
    assert int((found.fold_of >= 0).sum()) == 200
    others = found.fold_of < 0
    torch.testing.assert_close(found.probabilities[others], found.readout(users[others]))


def test_a_user_is_not_read_by_the_label_however_many_classes_there_are():
    generator = torch.Generator().manual_seed(0)
    users, labels = torch.randn(400, 8, generator=generator), torch.randint(4, (400,), generator=generator)
    found = cross_fitted_posterior(users, labels)
    # Labels are noise here: what explains them would be the users' own.
    assert (explained(found.probabilities, labels) < 0.02).all()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1] * 9 + [-1] * 22, "18 users have a label, and at least 20"),
        ([0] * 39 + [1], "nearly all users with a label are of one class"),
        ([0] * 40, "of one class"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        cross_fitted_posterior(torch.randn(40, 3), torch.tensor(labels))


class TestFeatures:
    def test_products_with_weights_equal_those_of_features_that_are_written_down(self):
        users = population(d=30)[0]
        features = Features.of(users)
        weights = torch.randn(len(features.unit), 3, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(features.times(users, weights), features(users) @ weights, atol=1e-5, rtol=1e-5)

    def test_a_dimension_that_is_the_same_for_all_counts_nothing(self):
        users = population()[0]
        still = torch.cat([users, torch.full((600, 1), 3.0)], dim=1)
        features = Features.of(still)
        moved = still.clone()
        moved[:, -1] += 100
        assert torch.isfinite(features(still)).all()
        assert torch.equal(features(moved), features(still))

    def test_one_dimension_is_enough(self):
        users = population()[0][:, :1]
        assert torch.isfinite(Features.of(users)(users)).all()

    def test_the_unit_of_the_embeddings_does_not_matter(self):
        users, _, labels = population()
        one, other = (cross_fitted_posterior(scale * users, labels) for scale in (1, 1024))
        torch.testing.assert_close(one.probabilities, other.probabilities, atol=1e-4, rtol=1e-4)


class TestExplained:
    def test_sure_probabilities_explain_everything_and_shares_of_classes_nothing(self):
        labels = torch.arange(90) % 3
        sure = torch.nn.functional.one_hot(labels).float()
        torch.testing.assert_close(explained(sure, labels), torch.ones(3))
        torch.testing.assert_close(explained(torch.full((90, 3), 1 / 3), labels), torch.zeros(3))

    def test_users_without_a_label_do_not_count(self):
        users, _, labels = population()
        probabilities = cross_fitted_posterior(users, labels).probabilities
        known = labels.clone()
        known[400:] = -1
        expected = explained(probabilities[:400], labels[:400])
        torch.testing.assert_close(explained(probabilities, known), expected)
        assert 0.2 < float(expected[0]) < 0.8


def test_a_posterior_is_in_the_precision_of_the_embeddings():
    users, _, labels = population()
    found = cross_fitted_posterior(users.double(), labels)
    assert isinstance(found, Posterior)
    assert found.probabilities.dtype == torch.float64
