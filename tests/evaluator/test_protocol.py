import itertools
import typing

import numpy as np
import pytest

from recbole_aia.evaluator import Attacker, registered_attackers
from recbole_aia.evaluator.draws import draw_users, leaked_users
from recbole_aia.evaluator.fits import all_cells
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.protocol import cross_validate


class TestDrawnUsers:
    CLASSES = np.repeat([0, 1, 2], [9000, 990, 10])

    def test_all_are_taken_where_there_are_few_or_no_limit(self):
        for limit in (None, 10_000, 20_000):
            np.testing.assert_array_equal(draw_users(self.CLASSES, limit, 0), np.arange(10_000))

    def test_classes_keep_their_shares_and_small_ones_their_members(self):
        drawn = draw_users(self.CLASSES, 1000, 0)
        assert len(drawn) == len(set(drawn)) == 1000
        assert np.bincount(self.CLASSES[drawn]).tolist() == [891, 99, 10]

    def test_they_depend_on_the_seed_only(self):
        first, again, other = (draw_users(self.CLASSES, 1000, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_attackers_that_scale_have_no_limit_and_others_say_theirs():
    limits = {name: attacker.most_users for name, attacker in registered_attackers().items()}
    assert (
        limits["xgboost"] is limits["logistic_tuned"] is limits["random_forest"] is limits["naive_bayes_raid"] is None
    )
    assert limits["svm"] < limits["mlp"] == Attacker.most_users


@pytest.mark.parametrize("limit", [None, 60])
def test_every_user_is_judged_however_few_are_learned_from(limit):
    class Counting(Attacker):
        name = "counting"
        most_users = limit

        def fit(self, embeddings, classes, seed):
            self.seen = len(classes)
            assert set(classes) == {0, 1}
            return self

        def predict_proba(self, embeddings):
            return np.tile([self.seen, 0.0], (len(embeddings), 1))

    labels = np.repeat([0, 1], [200, 40])
    attribute = encode_labels("a", labels, 240, 4)
    options = {"folds": 4, "repeats": 2, "seed": 0, "n_jobs": 1}
    (held_out,) = cross_validate(np.zeros((240, 3)), [attribute], [Counting], **options)
    assert (held_out.scores[..., 0] == (limit or 180)).all()


class TestLeakedUsers:
    CLASSES = np.repeat([0, 1, 2], [700, 290, 10])
    KNOWN = np.arange(1000) % 5 > 0

    def drawn(self, ratio, seed=3):
        return leaked_users(self.CLASSES, self.KNOWN, ratio, seed)

    def test_every_class_gives_the_share_of_all_users_rounded_up(self):
        assert np.bincount(self.CLASSES[self.drawn(0.2)]).tolist() == [140, 58, 2]
        assert np.bincount(self.CLASSES[self.drawn(0.01)]).tolist() == [7, 3, 2]

    def test_smaller_draws_are_within_larger_ones_and_all_of_known_users(self):
        draws = [set(self.drawn(ratio).tolist()) for ratio in (0.05, 0.2, 0.4, 0.6, 0.8)]
        assert all(small < large for small, large in itertools.pairwise(draws))
        assert draws[-1] == set(np.flatnonzero(self.KNOWN).tolist())

    def test_they_depend_on_the_seed_only(self):
        np.testing.assert_array_equal(self.drawn(0.4), self.drawn(0.4))
        assert not np.array_equal(self.drawn(0.4), self.drawn(0.4, seed=4))


class TestLeakRatios:
    OPTIONS: typing.ClassVar = {"folds": 5, "repeats": 2, "seed": 0, "n_jobs": 1}

    def attack(self, ratios, attackers=("logistic",), n=200, minority=60, **options):
        rng = np.random.default_rng(0)
        labels = rng.permutation(np.repeat([0, 1], [n - minority, minority]))
        points = rng.normal(size=(n, 6)) + labels[:, None]
        attribute = encode_labels("a", labels, n, 5)
        chosen = [registered_attackers()[name] for name in attackers]
        return cross_validate(points, [attribute], chosen, leak_ratios=ratios, **{**self.OPTIONS, **options})

    def test_each_ratio_has_results_of_its_own_in_the_same_folds(self):
        small, large = self.attack([0.1, 0.8])
        assert (small.leak_ratio, small.training_users) == (0.1, 20)
        assert (large.leak_ratio, large.training_users) == (0.8, 160)
        np.testing.assert_array_equal(small.fold_of, large.fold_of)
        assert not np.array_equal(small.scores, large.scores)

    def test_the_largest_ratio_is_what_is_attacked_without_one(self):
        (plain,), (_, largest) = self.attack(None), self.attack([0.4, 0.8])
        assert plain.leak_ratio == largest.leak_ratio
        np.testing.assert_array_equal(plain.scores, largest.scores)

    def test_a_class_with_two_members_left_is_no_obstacle(self):
        results = self.attack([0.02], ["logistic", "mlp", "mlp_raid", "knn", "svm", "xgboost"], minority=5, repeats=1)
        assert {held_out.training_users for held_out in results} == {6}
        assert all(np.isfinite(held_out.scores).all() for held_out in results)


def test_networks_of_all_folds_are_fitted_together_and_answer_for_their_own_folds():
    """Fitted one by one they answer the same."""

    class Lonely(registered_attackers()["mlp"]):
        fits_together = False

    labels = np.arange(230) % 2
    points = np.random.default_rng(0).normal(size=(230, 5)) + labels[:, None]
    attribute = encode_labels("a", labels, 230, 4)
    options = {"folds": 4, "repeats": 1, "seed": 0, "n_jobs": 1}
    (one,), (other,) = (
        cross_validate(points, [attribute], [attacker], **options) for attacker in (Lonely, Lonely.__mro__[1])
    )
    np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)


def test_cells_go_repeat_by_repeat_and_leave_no_fit_out():
    attackers = [registered_attackers()[name] for name in ("mlp", "mlp_raid", "logistic")]
    cells = all_cells([100, 100], [0.4, 0.8], attackers, repeats=2, folds=3)
    assert [cell.repeat for cell in cells] == sorted(cell.repeat for cell in cells)
    fits = [(*cell.key, cell.repeat, fold) for cell in cells for fold in cell.folds]
    assert len(fits) == len(set(fits)) == 2 * 2 * 3 * 2 * 3
    assert {len(cell.folds) for cell in cells if cell.attacker.name == "mlp"} == {3}
    assert {len(cell.folds) for cell in cells if cell.attacker.name == "logistic"} == {1}


def test_of_attackers_that_are_fitted_alone_the_last_named_begin():
    attackers = [registered_attackers()[name] for name in ("logistic", "mlp", "random_forest")]
    cells = all_cells([100], [0.8], attackers, repeats=1, folds=2)
    assert [cell.attacker.name for cell in cells] == ["mlp", *["random_forest", "logistic"] * 2]
