import numpy as np
import pytest

from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.evaluator.class_densities import class_densities
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.protocol import assign_folds

SETTINGS = {"attackers": ["logistic"], "attack_repeats": 1, "attack_permutations": 20, "attack_jobs": 1}


def found(points, classes):
    attribute = encode_labels("a", classes, len(points), 5)
    return class_densities(points, attribute, assign_folds(attribute, 5, 1, seed=0)[0])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_classes_apart_have_densities_apart(rng):
    classes = np.array(["F", "M"]).repeat([100, 300])
    points = rng.normal(size=(400, 6))
    points[:, 2] += 3 * (classes == "M")
    told = found(points, classes)
    assert (told["told"], told["auc"] > 0.95) == ("M", True)
    assert told["classes"]["F"]["n_users"] == 100
    assert told["classes"]["M"]["mean"] - told["classes"]["F"]["mean"] > 1.5
    for each in told["classes"].values():
        assert sum(each["density"]) * (told["grid"][1] - told["grid"][0]) == pytest.approx(1, abs=0.02)


def test_users_in_many_dimensions_do_not_stand_apart_by_overfitting(rng):
    told = found(rng.normal(size=(100, 90)), np.arange(100) % 2)
    assert abs(told["auc"] - 0.5) < 0.2


def test_of_several_classes_the_one_that_is_told_best_is_named(rng):
    classes = np.arange(300) % 3
    points = rng.normal(size=(300, 4))
    points[:, 0] += 4 * (classes == 1)
    assert found(points, classes)["told"] == "1"


def test_a_single_user_far_from_all_others_does_not_show(rng):
    classes = np.arange(60) % 2
    points = rng.normal(size=(60, 1)) + classes[:, None]
    points[1] = 40.0
    told = found(points, classes)
    assert all(each["bandwidth"] >= 0.3 for each in told["classes"].values())
    density = np.array(told["classes"]["1"]["density"])
    assert np.count_nonzero(np.diff(np.sign(np.diff(density))) < 0) == 1  # a single hill


def test_fewer_than_five_users_are_not_shown(rng):
    classes = np.array(["many"] * 40 + ["some"] * 20 + ["few"] * 4)
    attribute = encode_labels("a", classes, 64, 2)
    told = class_densities(rng.normal(size=(64, 3)), attribute, assign_folds(attribute, 2, 1, seed=0)[0])
    assert attribute.class_names == ("few", "many", "some")
    assert [*told["classes"]] == ["many", "some"]


def test_all_users_at_one_place_are_told_nothing():
    told = found(np.ones((40, 3)), np.arange(40) % 2)
    assert told["auc"] == 0.5
    assert told["classes"]["0"]["density"] == told["classes"]["1"]["density"]


def test_a_report_has_one_for_each_state_and_attribute_of_the_served_vectors(rng):
    points, labels = rng.normal(size=(80, 3)), {"a": np.arange(80) % 2, "b": np.arange(80) // 40}
    evaluator = AttributeInferenceEvaluator(SETTINGS, show_progress=False)
    views = [("undefended", "table", points), ("undefended", "served", points), ("defended", "top_k", points)]
    report = evaluator.evaluate_views(views, labels)
    assert [(each["state"], each["view"], each["attribute"]) for each in report.densities()] == [
        ("undefended", "served", "a"),
        ("undefended", "served", "b"),
    ]
    assert AttackReport(report.rows).densities() == []
