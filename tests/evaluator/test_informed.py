"""Attackers who have earlier releases, or know the users' activity, on data whose leaks are known."""

import numpy as np
import pytest
from attacked import QUICK
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator import AttributeInferenceEvaluator, informed_attack, informed_views
from recbole_aia.evaluator.informed_views import movement, unexplained

N, D = 400, 8


@pytest.fixture(scope="module")
def users():
    """Old vectors in which the classes lie apart by a standard deviation, classes, and how active the users are."""
    rng, classes = np.random.default_rng(0), np.arange(N) % 2
    old = rng.normal(size=(N, D))
    old[:, 0] += classes
    return old, classes, np.exp(rng.normal(3, 1, N)).astype(int) + 1


def rotation(d=D, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def attack(vectors, classes, **known):
    evaluator = AttributeInferenceEvaluator({**QUICK, "attack_repeats": 1}, show_progress=False)
    return informed_attack(evaluator, vectors, {"gender": classes}, **known)


def found(vectors, classes, **known):
    return attack(vectors, classes, **known)["attributes"]["gender"]


def written_down(old, classes):
    """The classes have the same mean, because each user has moved by their own label."""
    moved = old.copy()
    moved[:, 0] -= classes
    return moved


def label_free(old):
    """Moves each user by a function of the vector alone, along the axis that tells most."""
    moved = old.copy()
    moved[:, 0] -= np.tanh(2 * (old[:, 0] - 0.5))
    return moved


class TestOldVectors:
    def test_a_movement_by_the_label_is_read_off_completely(self, users):
        old, classes, _ = users
        cases = found(written_down(old, classes), classes, earlier=[old])
        assert cases["difference"]["auc"] > 0.99
        assert cases["old_and_new"]["auc"] > 0.99
        assert cases["old"]["advantage"] < 0.65
        assert cases["beyond_old"] > 0.3 > cases["floor"]
        assert cases["verdict"] == "above"

    def test_no_label_is_needed_to_read_it(self, users):
        old, classes, _ = users
        component = found(written_down(old, classes), classes, earlier=[old])["component"]
        assert component["attacker"] == "component 1"
        assert component["advantage"] == pytest.approx(1)
        assert component["auc_per_class"] == pytest.approx({"0": 1, "1": 1})
        assert component["floor"] < 0.3

    def test_a_movement_by_the_vector_tells_no_more_than_the_old_vectors(self, users):
        old, classes, _ = users
        cases = found(label_free(old), classes, earlier=[old])
        assert cases["old"]["advantage"] > 0.4
        assert cases["verdict"] == "within"
        # The component is as good as the old vectors are, and no better: this is no leak of the movement.
        assert cases["component"]["advantage"] > cases["component"]["floor"]
        assert cases["beyond_old"] < cases["floor"]

    def test_what_has_not_moved_tells_nothing_by_its_movement(self, users):
        old, classes, _ = users
        cases = found(old + 5, classes, earlier=[old])
        assert cases["difference"]["advantage"] == cases["component"]["advantage"] == 0
        assert cases["verdict"] == "within"

    def test_attacks_that_were_made_already_are_not_made_again(self, users):
        old, classes, _ = users
        evaluator = AttributeInferenceEvaluator({**QUICK, "attack_repeats": 1}, show_progress=False)
        made = evaluator.evaluate(old, {"gender": classes})
        fresh = attack(label_free(old), classes, earlier=[old])
        reused = attack(label_free(old), classes, earlier=[old], old=made)
        assert reused["attributes"] == fresh["attributes"]
        assert reused["rows"][0] == {**made.rows[0], "state": "defended", "view": "old"}

    def test_each_of_several_releases_is_compared(self, users):
        old, classes, _ = users
        new = label_free(old)
        again = attack(new, classes, earlier=[old, new + 0.5 * classes[:, None]])
        cases = again["attributes"]["gender"]
        assert again["releases"] == 2
        assert [*dict.fromkeys(row["view"] for row in again["rows"])] == [
            "old", "difference", "unexplained", "difference_2", "unexplained_2", "old_and_new",
        ]  # fmt: skip
        assert cases["difference"]["view"] == "difference_2"
        # The two old releases differ by the label, so together they tell it without the new one.
        assert cases["old"]["auc"] > 0.99
        assert cases["verdict"] == "within"

    def test_a_component_has_the_floor_of_the_best_of_all(self, users):
        rng = np.random.default_rng(3)
        above = 0
        for _ in range(40):
            old, new = rng.normal(size=(2, N, D))
            cases = found(new, rng.permutation(users[1]), earlier=[old], side_by_side=False)
            above += cases["component"]["advantage"] > cases["component"]["floor"]
        assert above <= 6  # 5 % of 40 are 2

    def test_users_who_differ_in_number_are_refused(self, users):
        old, classes, _ = users
        with pytest.raises(AttributeDataError, match="400 users, and an earlier release"):
            found(old, classes, earlier=[old[1:]])


class TestMovement:
    def test_in_one_space_it_is_the_difference(self, users):
        old, classes, _ = users
        moved, note = movement(old, written_down(old, classes))
        assert note == ""
        np.testing.assert_allclose(moved[:, 0], -(classes - 0.5), atol=1e-12)

    def test_a_rotated_space_is_turned_back_first(self, users):
        old, classes, _ = users
        turned = 3 * written_down(old, classes) @ rotation()
        moved, note = movement(old, turned)
        assert "the spaces differ" in note
        assert np.linalg.norm(moved) < 0.5 * np.linalg.norm(turned - old)
        cases = found(turned, classes, earlier=[old])
        assert cases["difference"]["auc"] > 0.95
        assert cases["verdict"] == "above"

    def test_a_rotation_alone_leaves_exactly_nothing(self, users):
        assert not movement(users[0], 2 * users[0] @ rotation())[0].any()

    def test_between_widths_it_is_what_a_linear_map_leaves(self, users):
        old, classes, _ = users
        wide = np.random.default_rng(2).normal(size=(D, 12))
        assert not movement(old, old @ wide)[0].any()
        written = old @ wide
        written[:, 3] += 2 * classes
        cases = found(written, classes, earlier=[old])
        assert cases["difference"]["auc"] > 0.95
        assert cases["verdict"] == "above"
        assert "widths differ" in attack(written, classes, earlier=[old])["notes"][0]

    def test_there_are_no_more_components_than_dimensions(self):
        rng = np.random.default_rng(0)
        assert unexplained(rng.normal(size=(20, 3)), rng.normal(size=(20, 3))).shape == (20, 6)
        assert unexplained(rng.normal(size=(20, 9)), rng.normal(size=(20, 9))).shape == (20, 10)


class TestLearnedMovements:
    """Movements along a posterior that was learned from labels."""

    @staticmethod
    def moved(old, posterior):
        step = (posterior - posterior.mean()) / posterior.std()
        return old - np.outer(step, step @ old / len(old))

    @pytest.fixture(scope="class")
    def learned(self):
        """More axes than a posterior can be learned along well; a posterior for users left out, and one of others."""
        rng, n, d = np.random.default_rng(8), 600, 40
        old, other = rng.normal(size=(2, n, d))
        classes, others = (rng.random((2, n)) < 1 / (1 + np.exp(-1.3 * np.stack([old, other])[:, :, 0]))).astype(int)
        model = LogisticRegression(C=0.01)
        folds = cross_val_predict(model, old, classes, cv=20, method="predict_proba")[:, 1]
        return old, classes, folds, model.fit(other, others).predict_proba(old)[:, 1]

    def test_leaving_users_out_of_what_moves_them_shows_their_labels(self, learned):
        old, classes, folds, _ = learned
        cases = found(self.moved(old, folds), classes, earlier=[old])
        assert cases["unexplained"]["advantage"] > cases["old"]["advantage"] + 2 * cases["floor"]
        assert cases["verdict"] == "above"

    def test_a_posterior_that_was_learned_from_others_shows_nothing_more(self, learned):
        old, classes, _, others = learned
        assert found(self.moved(old, others), classes, earlier=[old])["verdict"] == "within"


class TestActivity:
    def test_classes_that_differ_only_at_levels_of_activity_are_found_with_it(self, users):
        _, classes, activity = users
        vectors, level = np.random.default_rng(4).normal(size=(N, D)), np.log1p(activity)
        vectors[:, 2] += (classes - 0.5) * 2 * (level - level.mean())
        evaluator = AttributeInferenceEvaluator({**QUICK, "attack_repeats": 1}, show_progress=False)
        blind = evaluator.evaluate(vectors, {"gender": classes}).worst_case()["gender"]
        case = found(vectors, classes, activity=activity)["activity"]
        assert blind["advantage"] < blind["floor"]
        assert case["advantage"] > 2 * case["floor"]
        assert (case["view"], case["verdict"]) == ("activity", "above")

    def test_what_activity_tells_alone_is_no_leak_of_the_vectors(self, users):
        classes = users[1]
        activity = np.random.default_rng(5).poisson(np.where(classes, 40, 20))
        case = found(np.random.default_rng(6).normal(size=(N, D)), classes, activity=activity)["activity"]
        assert case["advantage"] > case["floor"]
        assert case["alone"]["auc"] > 0.95
        assert case["verdict"] == "within"

    def test_users_who_are_all_as_active_add_nothing(self, users):
        arrays = informed_views(users[0], activity=np.full(N, 7)).arrays
        assert not arrays["activity_alone"].any()
        assert not arrays["activity"][:, D:].any()
