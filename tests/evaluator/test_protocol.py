import numpy as np
import pytest

from recbole_aia.evaluator import Attacker, registered_attackers
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.protocol import MOST_TRAINING_USERS, cross_validate, draw_users, training_limit


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


def test_attackers_that_scale_have_no_limit_and_others_have_or_say_one():
    offered = registered_attackers()
    assert training_limit(offered["xgboost"]) is None
    assert training_limit(offered["mlp"]) == MOST_TRAINING_USERS

    class Kernel(offered["mlp"]):
        name = "kernel"
        most_users = 5000

    assert training_limit(Kernel) == 5000


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
    target = encode_labels("a", labels, 240, 4)
    options = {"folds": 4, "repeats": 2, "seed": 0, "n_jobs": 1}
    (held_out,) = cross_validate(np.zeros((240, 3)), [target], [Counting], **options)
    assert (held_out.scores[..., 0] == (limit or 180)).all()
