import numpy as np
import pytest

from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.leakers import COLUMNS, by_activity, by_dimension, confidence
from recbole_aia.evaluator.metrics import one_vs_rest_auc
from recbole_aia.evaluator.protocol import HeldOut

N = 600
SETTINGS = {"attackers": ["logistic", "knn"], "attack_repeats": 2, "attack_permutations": 20, "attack_jobs": 1}


@pytest.fixture(scope="module")
def leak():
    """Users with 200 or more interactions leak in dimension 3; the others do not."""
    rng = np.random.default_rng(0)
    classes, activity = rng.integers(0, 2, N), np.arange(N)
    points = rng.normal(size=(N, 6))
    points[:, 3] += np.where(activity >= 200, 3.0 * classes, 0)
    return points, classes, activity


@pytest.fixture(scope="module")
def report(leak):
    points, classes, _ = leak
    evaluator = AttributeInferenceEvaluator(SETTINGS, show_progress=False)
    return evaluator.evaluate(points, {"gender": np.where(classes == 1, "M", "F")})


def folds_of_two(fold_of):
    """The rows of each fold among the last 80 of 120 users."""
    return [np.flatnonzero((fold_of == fold) & (np.arange(120) >= 40)) for fold in range(5)]


def test_any_group_of_users_is_judged_by_attackers_of_everybody(report, leak):
    leaking, others = (report.among(mask) for mask in (leak[2] >= 200, leak[2] < 200))
    assert [row["attacker"] for row in leaking] == ["logistic", "knn"]
    assert [row["n_users"] for row in (leaking[0], others[0])] == [400, 200]
    assert leaking[0]["advantage"] > 0.7
    assert others[0]["advantage"] < others[0]["floor"]
    assert all(row["advantage"] is None and row["floor"] is None for row in report.among(leak[2] < 4))


def test_the_worst_case_among_some_users_has_the_floor_of_the_best_of_its_attackers(report, leak):
    mask = leak[2] >= 200
    worst, rows = report.worst_among(mask)["gender"], report.among(mask)
    strongest = max(rows, key=lambda row: row["advantage"])
    assert (worst["attacker"], worst["advantage"]) == (strongest["attacker"], strongest["advantage"])
    assert worst["floor"] >= max(row["floor"] for row in rows)
    assert report.worst_among(leak[2] < 4) == {"gender": None}


class TestUsers:
    def test_one_line_a_user_of_the_strongest_attacker_the_surest_first(self, report, leak):
        tokens = [f"user {i}" for i in range(N)]
        frame = report.users(tokens, leak[2])
        assert sorted(frame["user"]) == sorted(tokens)
        assert set(frame["attacker"]) == {report.worst_case()["gender"]["attacker"]}
        assert frame["confidence"].is_monotonic_decreasing
        assert (frame["user"] == "user " + frame["interactions"].astype(str)).all()

    def test_the_class_is_the_true_one_and_the_guess_follows_the_confidence(self, report, leak):
        frame = report.users(activity=leak[2]).sort_values("user")
        assert (frame["class"].to_numpy() == np.where(leak[1] == 1, "M", "F")).all()
        right = frame["guessed"] == frame["class"]
        assert ((frame["confidence"] > 0.5) == right).all()

    def test_those_who_leak_are_surer(self, report, leak):
        frame = report.users(activity=leak[2])
        leaking = frame["interactions"] >= 200
        assert frame[leaking]["confidence"].mean() > 0.7
        assert frame[~leaking]["confidence"].mean() < 0.6

    def test_answers_below_chance_are_read_backwards(self):
        """Classes matched on all users: the attacker is wrong about most of those that it has not seen."""
        rng = np.random.default_rng(0)
        points, classes = rng.normal(size=(400, 32)), np.arange(400) % 2
        for members in (classes == 0, classes == 1):
            points[members] -= points[members].mean(axis=0)
        report = AttributeInferenceEvaluator(SETTINGS, attackers=["logistic"], show_progress=False).evaluate(
            points, classes
        )
        assert report.rows[0]["metrics"]["auc"]["mean"] < 0.4
        frame = report.users()
        assert (frame["guessed"] == frame["class"].astype(str)).mean() > 0.55
        assert frame["confidence"].mean() > 0.5

    def test_views_and_profiles_add_no_lines(self, report, leak):
        points, classes, _ = leak
        other = AttributeInferenceEvaluator(SETTINGS, show_progress=False).evaluate(
            points + 5 * np.eye(6)[classes], {"gender": np.where(classes == 1, "M", "F")}, view="profile"
        )
        both = AttackReport.concat([report, other])
        assert [found["view"] for found in both.who_leaks()] == ["served"]
        assert len(both.users()) == N

    def test_rows_read_from_a_file_name_nobody(self, report):
        assert AttackReport(report.rows).who_leaks() == []
        assert list(AttackReport(report.rows).users().columns) == list(COLUMNS)

    def test_users_without_a_label_are_not_listed(self, leak):
        points, classes, _ = leak
        labels = np.where(np.arange(N) < 50, -1, classes)
        report = AttributeInferenceEvaluator(SETTINGS, show_progress=False).evaluate(points, labels)
        assert report.users()["user"].min() == 50


class TestByActivity:
    def test_it_finds_the_group_that_leaks(self, report, leak):
        few, middle, many = report.who_leaks(leak[2])[0]["groups"]
        assert (few["interactions"], middle["interactions"], many["interactions"]) == ([0, 199], [200, 399], [400, 599])
        assert few["advantage"] < few["floor"]
        assert middle["advantage"] > 0.8 > middle["floor"]
        assert many["advantage"] > 0.8

    def test_one_group_of_all_is_the_row_itself(self, report):
        found = by_activity(report.evidence[0].held_out, np.ones(N, dtype=int))
        assert [group["n_users"] for group in found] == [N]
        assert found[0]["advantage"] == pytest.approx(report.rows[0]["metrics"]["advantage"]["mean"])
        assert found[0]["floor"] == pytest.approx(report.rows[0]["floor"]["permuted_advantage95"], rel=0.3)

    def test_a_class_that_is_not_there_is_not_judged(self):
        rng = np.random.default_rng(1)
        classes = np.repeat([0, 1, 2], 40)
        attribute = encode_labels("job", classes, 120, 5)
        fold_of = rng.permuted(np.tile(np.arange(5), 24)).reshape(1, -1)
        held_out = HeldOut(attribute, "any", rng.dirichlet(np.ones(3), size=(1, 120)), fold_of, 0.0, 0.8, 96)
        alone, both = by_activity(held_out, np.repeat([1, 2, 3], [40, 60, 20]))
        assert (alone["n_users"], alone["advantage"], alone["floor"]) == (40, None, None)
        assert (both["interactions"], both["n_users"]) == ([2, 3], 80)
        auc = [one_vs_rest_auc(classes[f] - 1, held_out.scores[0][f][:, 1:]) for f in folds_of_two(fold_of[0])]
        assert both["advantage"] == pytest.approx(2 * np.abs(np.mean(auc, axis=0) - 0.5).mean())

    def test_without_activity_there_are_no_groups(self, report):
        assert "groups" not in report.who_leaks()[0]


class TestByDimension:
    def test_the_dimension_that_carries_it_comes_first_and_alone_exceeds_the_floor(self, report, leak):
        found = report.who_leaks()[0]
        first, second, *_ = found["dimensions"]
        assert first["dimension"] == 3
        expected = one_vs_rest_auc(leak[1], np.stack([-leak[0][:, 3], leak[0][:, 3]], axis=1))
        assert first["auc_per_class"]["M"] == pytest.approx(expected[1])
        assert first["advantage"] > found["dimension_floor"] > second["advantage"]

    def test_chance_stays_within_the_floor(self):
        above = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            attribute = encode_labels("a", rng.integers(0, 3, 150), 150, 5)
            found = by_dimension(rng.normal(size=(150, 12)), attribute)
            above += found["dimensions"][0]["advantage"] > found["dimension_floor"]
        assert above <= 6  # two expected; more 1 time in 70


def test_confidence_is_the_mean_probability_of_the_true_class():
    attribute = encode_labels("a", np.array([0, 1, 1, 0]), 4, 2)
    scores = np.array([[[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]], [[0.7, 0.3], [0.2, 0.8], [1, 0], [0.5, 0.5]]])
    held_out = HeldOut(attribute, "any", scores, np.zeros((2, 4), dtype=int), 0.0, 0.5, 2)
    np.testing.assert_allclose(confidence(held_out), [0.8, 0.7, 0.1, 0.5])
