import json
import random

import numpy as np
import pytest
from attacked import QUICK, attack, gaussians, untimed
from scipy.stats import norm

from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator import (
    Attacker,
    AttackReport,
    AttributeInferenceEvaluator,
    register_attacker,
)
from recbole_aia.evaluator.attackers import base


def matched(n_classes, covariances):
    """Noise whose classes are moved to one mean, or one mean and covariance, over all 500 users; 32 dimensions."""
    rng = np.random.default_rng(3)
    embeddings, classes = rng.normal(size=(500, 32)), rng.permutation(np.arange(500) % n_classes)
    for members in (classes == k for k in range(n_classes)):
        embeddings[members] -= embeddings[members].mean(axis=0)
        if covariances:
            factor = np.linalg.cholesky(np.cov(embeddings[members].T))
            embeddings[members] = np.linalg.solve(factor, embeddings[members].T).T
    return embeddings, classes


class TestClassesMatchedOnTheWholeSample:
    """A defense that fits the sample at hand shows itself: what is left over differs the other way round."""

    @pytest.mark.parametrize(
        ("n_classes", "covariances", "plain"),
        [(2, False, "logistic"), (3, False, "logistic"), (2, True, "quadratic"), (3, True, "quadratic")],
    )
    def test_the_flip_aware_attacker_reads_what_others_answer_in_reverse(self, n_classes, covariances, plain):
        report = attack(*matched(n_classes, covariances), attackers=[plain, "flip_aware"], attack_repeats=1)
        reversed_, turned = report.rows
        assert max(reversed_["auc_per_class"].values()) < 0.5
        assert min(turned["auc_per_class"].values()) > 0.5
        assert turned["metrics"]["auc"]["mean"] > 0.57
        assert turned["metrics"]["balanced_accuracy"]["mean"] > 1 / n_classes + 0.04
        worst = report.worst_case()["attribute"]
        assert worst["advantage"] > 1.3 * worst["floor"]


class TestWhatIsFound:
    def test_planted_classes_are_found_at_the_best_possible_auc(self):
        row = attack(*gaussians(1500, 1.0)).rows[0]
        best = norm.cdf(1 / 2**0.5)
        assert row["metrics"]["auc"]["mean"] == pytest.approx(best, abs=0.03)
        assert row["metrics"]["balanced_accuracy"]["mean"] == pytest.approx(norm.cdf(0.5), abs=0.03)
        low, high = row["metrics"]["auc"]["ci95"]
        assert low < best < high
        assert row["metrics"]["advantage"]["mean"] > row["floor"]["permuted_advantage95"]

    def test_classes_matched_exactly_answer_below_chance_and_that_is_leakage(self):
        embeddings, classes = gaussians(600, 1.0, d=32)
        for k in range(2):
            embeddings[classes == k] -= embeddings[classes == k].mean(axis=0)
        row = attack(embeddings, classes).rows[0]
        assert row["metrics"]["auc"]["mean"] < 0.4
        assert row["metrics"]["auc"]["ci95"][1] < 0.5
        gain = row["metrics"]["advantage"]["mean"]
        assert gain == pytest.approx(1 - 2 * row["metrics"]["auc"]["mean"])
        assert gain > row["floor"]["permuted_advantage95"]
        assert row["metrics"]["advantage"]["ci95"][0] > 0

    def test_metrics_are_those_of_the_held_out_folds(self):
        """The oracle answers from the label itself, so every held-out number is known."""

        class Inverse(Attacker):
            name = "inverse"

            def fit(self, embeddings, classes, seed):
                return self

            def predict_proba(self, embeddings):
                return np.stack([embeddings[:, 0], 1 - embeddings[:, 0]], axis=1)

        register_attacker(Inverse)
        try:
            labels = np.arange(40) % 2
            row = attack(np.stack([labels, labels], axis=1), labels, attackers=["inverse"]).rows[0]
        finally:
            del base._REGISTRY["inverse"]
        assert row["auc_per_class"] == {"0": 0.0, "1": 0.0}
        metrics = {name: value["mean"] for name, value in row["metrics"].items()}
        assert metrics.pop("advantage") == 1
        assert metrics == dict.fromkeys(("auc", "balanced_accuracy", "f1_macro", "f1_micro", "f1_binary"), 0)
        assert all(low == high for low, high in (value["ci95"] for value in row["metrics"].values()))


class TestBalance:
    def test_equally_many_of_each_class_are_attacked(self):
        classes = np.repeat([0, 1, 2], [10, 20, 30])
        evaluator = AttributeInferenceEvaluator(attackers=["logistic"], attack_balance="undersample")
        first = evaluator.attacked_attributes(classes, 60)[0][0]
        assert np.bincount(first.codes).tolist() == [10, 10, 10]
        np.testing.assert_array_equal(classes[first.users], first.codes)
        again = evaluator.attacked_attributes(classes, 60)[0][0]
        np.testing.assert_array_equal(first.users, again.users)
        assert len(set(first.users) - set(range(30))) == 10  # of the largest class

    def test_f1_of_an_attacker_who_answers_one_class_is_as_raid_prints_it(self):
        """Users are balanced, so such an attacker gets 2/3 or 0 in each of 15 folds."""

        class Constant(Attacker):
            name = "constant"

            def fit(self, embeddings, classes, seed):
                self.answer = seed % 2
                return self

            def predict_proba(self, embeddings):
                return np.tile(np.eye(2)[self.answer], (len(embeddings), 1))

        register_attacker(Constant)
        try:
            evaluator = AttributeInferenceEvaluator(protocol="raid", attackers=["constant"], show_progress=False)
            row = evaluator.evaluate(np.zeros((200, 2)), np.arange(200) % 10 == 0).rows[0]
        finally:
            del base._REGISTRY["constant"]
        folds = row["metrics"]["f1_binary"]["mean"] / (2 / 3) * 15
        assert folds == pytest.approx(round(folds))
        assert 0 < folds < 15
        assert row["metrics"]["balanced_accuracy"]["mean"] == row["metrics"]["f1_micro"]["mean"] == 0.5
        assert row["n_users"] == 40


class TestTheRow:
    def test_it_is_what_results_json_promises(self):
        embeddings, classes = gaussians(100, 1.0)
        row = attack(embeddings, {"gender": classes}, {"gender": ["F", "M"]}).rows[0]
        assert json.loads(json.dumps(row, allow_nan=False)) == row
        assert {key: row[key] for key in ("state", "view", "attribute", "attacker", "leak_ratio", "n_users")} == {
            "state": "undefended",
            "view": "served",
            "attribute": "gender",
            "attacker": "logistic",
            "leak_ratio": 0.8,
            "n_users": 100,
        }
        assert set(row["metrics"]) == {
            "auc", "balanced_accuracy", "f1_macro", "f1_micro", "f1_binary", "advantage",
        }  # fmt: skip
        for value in row["metrics"].values():
            assert 0 <= value["ci95"][0] <= value["mean"] <= value["ci95"][1] <= 1
        assert list(row["auc_per_class"]) == ["F", "M"]
        assert row["floor"]["majority"] == 0.5
        assert 0 < row["floor"]["permuted_advantage95"] < 1
        assert row["seconds"] > 0
        assert (row["missing"], row["left_out"]) == (0, {})

    def test_mean_auc_and_advantage_follow_from_the_classes(self):
        rng = np.random.default_rng(0)
        row = attack(rng.normal(size=(90, 3)), np.arange(90) % 3).rows[0]
        per_class = np.array(list(row["auc_per_class"].values()))
        assert row["metrics"]["auc"]["mean"] == pytest.approx(per_class.mean())
        assert row["metrics"]["advantage"]["mean"] == pytest.approx(2 * np.abs(per_class - 0.5).mean())


class TestEmbeddings:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_non_finite_ones_are_refused_with_the_first_user(self, value):
        embeddings, classes = gaussians(40, 1.0)
        embeddings[[17, 20], 1] = value
        with pytest.raises(AttributeDataError, match=r"2 of 40 users are not finite \(first: row 17\)"):
            attack(embeddings, classes)

    @pytest.mark.parametrize("embeddings", [np.ones(40), np.ones((40, 0)), np.ones((40, 2, 2)), [["a"]] * 40])
    def test_another_shape_or_type_is_refused(self, embeddings):
        with pytest.raises(AttributeDataError, match="the embeddings"):
            attack(embeddings, np.arange(40) % 2)

    def test_float32_and_float64_agree(self):
        embeddings, classes = gaussians(60, 1.0)
        single = embeddings.astype(np.float32)
        assert untimed(attack(single, classes)) == untimed(attack(single.astype(np.float64), classes))


class TestReproducibility:
    def test_an_attribute_or_attacker_more_changes_nothing_for_the_others(self):
        embeddings, classes = gaussians(60, 0.5)
        alone = untimed(attack(embeddings, {"a": classes}))
        more = untimed(attack(embeddings, {"b": 1 - classes, "a": classes}, attackers=["xgboost", "logistic"]))
        assert more[-1] == alone[0]

    def test_another_seed_changes_the_folds(self):
        embeddings, classes = gaussians(60, 0.5)
        assert untimed(attack(embeddings, classes, seed=1)) != untimed(attack(embeddings, classes, seed=2))

    def test_global_random_state_is_neither_read_nor_written(self):
        embeddings, classes = gaussians(60, 0.5)
        results = []
        for seed in (0, 1):
            np.random.seed(seed)
            random.seed(seed)
            before = np.random.get_state()[1].copy(), random.getstate()
            results.append(untimed(attack(embeddings, classes)))
            np.testing.assert_array_equal(np.random.get_state()[1], before[0])
            assert random.getstate() == before[1]
        assert results[0] == results[1]


class TestSettingsAtWork:
    def test_folds_set_the_share_that_the_attacker_knows(self):
        assert attack(*gaussians(40, 1.0), attack_folds=4).rows[0]["leak_ratio"] == 0.75

    def test_a_row_for_each_leak_ratio_and_wider_intervals_for_less_known(self):
        report = attack(*gaussians(300, 1.0), attack_leak_ratios=[0.2, 0.8])
        small, large = report.rows
        assert (small["leak_ratio"], small["training_users"]) == (0.2, 60)
        assert (large["leak_ratio"], large["training_users"]) == (0.8, 240)
        plain = attack(*gaussians(300, 1.0)).rows[0]
        assert large["metrics"] == plain["metrics"]
        assert small["metrics"]["auc"]["mean"] < large["metrics"]["auc"]["mean"]

    def test_the_progress_bar_counts_the_fits(self, capsys):
        AttributeInferenceEvaluator(QUICK, show_progress=True).evaluate(*gaussians(40, 1.0))
        assert "10/10" in capsys.readouterr().err
        attack(*gaussians(40, 1.0))
        assert capsys.readouterr().err == ""


class TestReport:
    @pytest.fixture(scope="class")
    def report(self):
        embeddings, classes = gaussians(80, 1.0)
        labels = np.array(["F", "M"], dtype=object)[classes]
        labels[:2], labels[2:5] = None, "doctor"
        evaluator = AttributeInferenceEvaluator(QUICK, attackers=["logistic", "xgboost"], show_progress=False)
        return evaluator.evaluate(embeddings, {"gender": labels}) + evaluator.evaluate(
            embeddings * 0, {"gender": labels}, state="defended"
        )

    def test_reports_add_up_and_narrow_down(self, report):
        assert [row["state"] for row in report.rows] == ["undefended"] * 2 + ["defended"] * 2
        parts = [report.where(state=state) for state in ("undefended", "defended")]
        assert AttackReport.concat(parts) == report
        assert len(report.where(state="defended", attacker="xgboost").rows) == 1

    def test_worst_case_is_the_attacker_with_the_largest_advantage(self, report):
        gains = {r["attacker"]: r["metrics"]["advantage"]["mean"] for r in report.where(state="undefended").rows}
        worst = report.worst_case()["gender"]
        strongest = {"attacker": max(gains, key=gains.get), "view": "served", "advantage": max(gains.values())}
        assert worst == {**strongest, "floor": worst["floor"]}
        assert AttackReport(report.where(state="undefended").rows).worst_case()["gender"] == strongest
        assert report.where(state="defended").worst_case()["gender"]["advantage"] == 0

    def test_the_floor_of_the_worst_case_allows_for_choosing_it(self, report):
        both = report.where(state="undefended")
        alone = [row["floor"]["permuted_advantage95"] for row in both.rows]
        assert max(alone) < both.worst_case()["gender"]["floor"] < sum(alone)
        single = both.where(attacker="xgboost").worst_case()["gender"]["floor"]
        assert single == both.where(attacker="xgboost").rows[0]["floor"]["permuted_advantage95"]
        assert f"its floor {both.worst_case()['gender']['floor']:.3f} (the best of 2)" in str(both)

    def test_the_frame_has_one_line_per_row_and_metric(self, report):
        frame = report.to_frame()
        assert len(frame) == 4 * 6
        line = frame.query("state == 'undefended' and attacker == 'xgboost' and metric == 'auc'").iloc[0]
        assert [line["ci95_low"], line["ci95_high"]] == report.rows[1]["metrics"]["auc"]["ci95"]
        assert line["permuted_advantage95"] == report.rows[1]["floor"]["permuted_advantage95"]

    def test_json_comes_back_as_it_was_and_reaches_the_file_whole(self, report, tmp_path):
        path = tmp_path / "attacks.json"
        text = report.to_json(path)
        assert json.loads(text)["attacks"] == report.rows
        assert json.loads(path.read_text())["attacks"] == report.rows
        assert [entry.name for entry in tmp_path.iterdir()] == ["attacks.json"]

    def test_it_prints_within_a_hundred_columns_and_says_what_was_not_attacked(self, report):
        text = str(report)
        assert max(map(len, text.splitlines())) <= 100
        for part in ("undefended, served", "defended, served", "xgboost", "2 users without", "doctor (<5)", "floor"):
            assert part in text

    def test_it_says_which_attackers_learned_from_a_draw_of_users(self, report):
        assert "drawn by class" not in str(report)
        rows = [{**row, "training_users": 50} for row in report.rows]
        assert "learned from 50 of " in str(AttackReport(rows))

    def test_an_empty_report_prints(self):
        assert str(AttackReport()) == "no attack"


def test_views_attacked_together_give_what_each_gives_alone():
    embeddings, gender, age = planted_views()
    options = {"attackers": ["logistic", "mlp"], "attack_folds": 2, "attack_repeats": 1, "show_progress": False}
    evaluator, labels = AttributeInferenceEvaluator(options), {"gender": gender, "age": age}
    views = [("undefended", "served", embeddings), ("defended", "top_k", embeddings[:, :2] * 3)]
    together = evaluator.evaluate_views(views, labels)
    alone = AttackReport.concat(
        evaluator.evaluate(points, labels, state=state, view=view) for state, view, points in views
    )
    assert [{**row, "seconds": 0} for row in together.rows] == [{**row, "seconds": 0} for row in alone.rows]
    assert [each.null.tolist() for each in together.evidence] == [each.null.tolist() for each in alone.evidence]


def planted_views():
    rng = np.random.default_rng(0)
    gender, age = rng.integers(0, 2, 80), rng.integers(0, 3, 80)
    return rng.normal(size=(80, 4)) + gender[:, None], gender, age
