"""The map: what it moves users by, that it can be kept, and how little two releases tell beyond the first."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from recbole_aia import protect
from recbole_aia.losses import UserMap, cross_fitted_posterior, learn_map
from recbole_aia.losses.calibrated import estimation, mapping

STEPS = 30


def population(n=800, d=6, seed=0):
    """Users, two attributes that the first two dimensions tell: labels ``[n, 2]`` of two and of three classes."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(n, d, generator=generator)
    first = (2 * users[:, 0] + torch.randn(n, generator=generator) > 0).long()
    second = (users[:, 1] + 0.5 * torch.randn(n, generator=generator)).div(0.8).round().clamp(-1, 1).long() + 1
    return users, torch.stack([first, second], dim=1)


def fitted(users, labels, max_steps=STEPS, **values):
    features = estimation.Features.of(users)
    posteriors = [cross_fitted_posterior(users, column, features) for column in labels.t()]
    return posteriors, *learn_map(users, posteriors, labels, max_steps, **values)


def auc(features, labels):
    """How well logistic regression reads labels that it has not learned from."""
    said = cross_val_predict(LogisticRegression(max_iter=1000), features, labels, cv=5, method="predict_proba")
    return roc_auc_score(labels, said[:, 1])


def relative(change, move):
    """The size of a change of movements, in sizes of movements."""
    return float(change.norm(dim=-1).mean() / move.norm(dim=1).mean())


@pytest.fixture(scope="module")
def learned():
    users, labels = population()
    return users, labels, *fitted(users, labels)


def test_the_largest_statistic_comes_to_chance(learned):
    outcome = learned[4]
    assert outcome.before > 10
    assert outcome.after < 2


def test_an_attacker_reads_less_of_the_moved_users(learned):
    users, labels, _, moved, _, _ = learned
    assert auc(users, labels[:, 0]) > 0.9
    assert auc(moved, labels[:, 0]) < 0.65


def test_the_map_moves_later_users_as_it_moved_its_own(learned):
    user_map = learned[5]
    later, theirs = population(seed=1)
    assert auc(later, theirs[:, 0]) > 0.9
    assert auc(user_map(later), theirs[:, 0]) < 0.65


def test_users_with_and_without_a_label_are_moved_by_the_same_map():
    users, labels = population()
    known = labels.clone()
    known[400:] = -1
    _, moved, outcome, user_map = fitted(users, known)
    assert torch.equal(user_map(users), moved)
    assert outcome.after < outcome.before / 20
    for some in (slice(0, 400), slice(400, None)):
        assert auc(users[some], labels[some, 0]) > 0.9
        assert auc(moved[some], labels[some, 0]) < 0.65


def test_a_map_that_was_kept_is_the_same_map(learned):
    users, user_map = learned[0], learned[5]
    state = user_map.state()
    assert torch.equal(UserMap.from_state(state)(users), user_map(users))
    del state["basis.axes"]
    with pytest.raises(KeyError):
        UserMap.from_state(state)


def test_the_map_is_the_formula_that_it_states(learned):
    users, user_map = learned[0], learned[5]
    found = [
        estimation.Readout(user_map.features, weights).said(user_map.features(users)) for weights in user_map.readouts
    ]
    residuals = torch.cat([each[:, :-1] for each in found], dim=1) - user_map.means
    way = torch.einsum("nc,nf,cfd->nd", residuals, user_map.basis(users), user_map.weights)
    torch.testing.assert_close(user_map(users), users + way, atol=1e-5, rtol=1e-5)


def test_no_user_depends_on_who_else_is_mapped(learned):
    users, user_map = learned[0], learned[5]
    torch.testing.assert_close(user_map(users[:3]), user_map(users)[:3], atol=1e-5, rtol=1e-5)
    assert user_map(users[:0]).shape == (0, 6)


class TestAnOwnLabel:
    def test_decides_nothing_where_the_map_is_held_fixed(self, learned):
        users, _, _, moved, _, user_map = learned
        assert torch.equal(user_map(users), moved)
        assert torch.equal(UserMap.from_state(user_map.state())(users), moved)

    def test_does_not_show_by_cross_fitted_probabilities(self, learned):
        """They show which users a fold was learned from. Users who moved by them would show the fold's labels."""
        users, labels, posteriors, moved, _, _ = learned
        others = [
            posterior._replace(probabilities=posterior.probabilities.flip(0), fold_of=posterior.fold_of.flip(0))
            for posterior in posteriors
        ]
        assert torch.equal(learn_map(users, others, labels, STEPS)[0], moved)

    def test_moves_the_user_little_by_way_of_the_map(self, learned):
        users, labels, _, moved, _, _ = learned
        own = torch.from_numpy(protect(users.numpy(), labels.numpy()[:, 0], calibrated_labels="own", max_steps=STEPS))
        released, direct = [], []
        for user in (3, 400):
            flipped = labels.clone()
            flipped[user, 0] = 1 - flipped[user, 0]
            released.append((fitted(users, flipped)[1] - moved)[user])
            again = protect(users.numpy(), flipped.numpy()[:, 0], calibrated_labels="own", max_steps=STEPS)
            direct.append((torch.from_numpy(again) - own)[user])
        by_map, by_own = relative(torch.stack(released), moved - users), relative(torch.stack(direct), own - users)
        assert by_map < 0.1
        assert by_own > 5 * by_map


class TestTwoReleases:
    """Labels that vectors of 32 dimensions tell a little: what the difference tells more would be seen."""

    def population(self, seed, lean):
        generator = torch.Generator().manual_seed(seed)
        users = torch.randn(1000, 32, generator=generator)
        return users, (lean * users[:, :1] + torch.randn(1000, 1, generator=generator) > 0).long()

    @pytest.mark.parametrize("seed", [0, 1])
    def test_tell_little_more_than_the_first(self, seed):
        users, labels = self.population(seed, lean=0.5)
        before, moved = auc(users, labels[:, 0]), fitted(users, labels, max_steps=15)[1]
        assert 0.65 < before < 0.75
        assert auc(moved, labels[:, 0]) < 0.55
        assert auc(moved - users, labels[:, 0]) < before + 0.09
        assert auc(torch.cat([users, moved], dim=1), labels[:, 0]) < before + 0.04

    def test_tell_more_where_the_readout_fits_single_users(self, monkeypatch):
        """Why ridges are large: a tenth of them writes more of the labels into the vectors."""
        monkeypatch.setattr(estimation, "_RIDGES", tuple(ridge / 10 for ridge in estimation._RIDGES))
        users, labels = self.population(0, lean=0.5)
        before, moved = auc(users, labels[:, 0]), fitted(users, labels, max_steps=15)[1]
        assert auc(moved - users, labels[:, 0]) > before + 0.09
        assert auc(torch.cat([users, moved], dim=1), labels[:, 0]) > before + 0.04

    def test_tell_everything_where_users_move_by_their_own_labels(self):
        users, labels = self.population(0, lean=0.5)
        moved = protect(users.numpy(), labels[:, 0].numpy(), calibrated_labels="own", max_steps=15)
        assert auc(moved - users.numpy(), labels[:, 0]) > 0.95

    def test_tell_something_of_labels_that_the_vectors_do_not_tell(self):
        """A limit: the readout has seen these labels, and fits them a little; far less than own labels would show."""
        users, labels = self.population(0, lean=0.0)
        moved = fitted(users, labels, max_steps=15)[1]
        assert auc(users, labels[:, 0]) < 0.55
        assert 0.55 < auc(moved - users, labels[:, 0]) < 0.7


class TestSilentEntries:
    def test_entries_that_are_zero_stay_zero(self):
        users, labels = population()
        users = users.clamp_min(0) + 0.0
        _, moved, _, user_map = fitted(users, labels)
        assert (moved[users == 0] == 0).all()
        assert (user_map(users)[users == 0] == 0).all()
        assert (moved != users)[users != 0].float().mean() > 0.9

    def test_the_caller_may_say_which_stay(self):
        users, labels = population()
        silent = torch.zeros_like(users, dtype=torch.bool)
        silent[:, 4], users[5, 2] = True, 0.0
        _, moved, _, user_map = fitted(users, labels, silent=silent)
        assert torch.equal(moved[:, 4], users[:, 4])
        assert torch.equal(user_map(users, silent)[:, 4], users[:, 4])
        assert moved[5, 2] != 0


def test_more_users_than_are_learned_from_are_all_moved(monkeypatch):
    monkeypatch.setattr(mapping, "MOST", 300)
    monkeypatch.setattr(estimation, "MOST", 300)
    monkeypatch.setattr(mapping, "_CHUNK", 128)
    users, labels = population()
    _, moved, outcome, user_map = fitted(users, labels)
    assert outcome.after < outcome.before / 5
    assert torch.equal(user_map(users), moved)
    assert (moved != users).any(1).all()
    assert auc(moved, labels[:, 0]) < auc(users, labels[:, 0]) - 0.1


@pytest.mark.parametrize(("n", "most"), [(60, 2), (800, 8), (1200, 12)])  # 0.03 for each user and column at most
def test_few_users_get_a_map_of_few_weights(n, most):
    users, labels = population(n, 20)
    weights = fitted(users, labels, max_steps=1)[3].weights  # of the three columns of two attributes
    assert weights.shape == (3, most, 20)
