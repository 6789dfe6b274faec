import numpy as np
import pytest

from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.report.four_views import four_lines, four_views
from recbole_aia.report.page import sentences


@pytest.fixture(scope="module")
def views():
    """A hundred users who asked, of whom nothing is left to find, and a hundred others."""
    rng, asked = np.random.default_rng(0), np.repeat([True, False], 100)
    gender = rng.integers(0, 2, 200)
    before = rng.normal(size=(200, 4)) + 2 * gender[:, None]
    after = np.where(asked[:, None], rng.normal(size=(200, 4)) + 1, before)
    evaluator = AttributeInferenceEvaluator(attackers=["logistic"], attack_jobs=1, show_progress=False)
    # Profiles are attacked once: they say all, and no unlearning changes them.
    seen = [("undefended", "served", before), ("undefended", "profile", 9 * before), ("defended", "served", after)]
    report = evaluator.evaluate_views(seen, {"gender": gender})
    ndcg = np.where(asked, 0.2, 0.1)
    ndcg[:3] = np.nan
    served = {"undefended": {"ndcg@10": ndcg}, "defended": {"ndcg@10": ndcg / 2}}
    gap = {state: {"ndcg@10": {"gap": {"mean": value}}} for state, value in (("undefended", 0.1), ("defended", 0.05))}
    return four_views({"gender": asked}, report, served, {"gender": gap}, {"unlearning": 2.0, "training": 60.0})


def test_completeness_is_what_is_found_of_those_who_asked(views):
    found = views["completeness"]["gender"]
    assert found["undefended"]["advantage"] > 0.9
    assert found["undefended"]["view"] == "served"
    assert found["defended"]["advantage"] < found["defended"]["floor"] < 0.5


def test_utility_has_those_who_asked_and_the_others_apart(views):
    utility = views["utility"]["ndcg@10"]
    assert utility["undefended"] == pytest.approx({"asked": 0.2, "did_not_ask": 0.1, "all": 29.4 / 197})
    assert utility["defended"]["asked"] == pytest.approx(0.1)


def test_fairness_and_efficiency_stand_beside(views):
    assert views["fairness"] == {"gender": {"ndcg@10": {"undefended": 0.1, "defended": 0.05}}}
    assert views["efficiency"] == {"unlearning": 2.0, "training": 60.0}


def test_they_are_said_in_lines(views):
    said = four_lines({"four_views": views})
    assert said[0].startswith("completeness, gender of those who asked: undefended 1.000 (floor")
    assert said[1] == "utility, NDCG@10: asked 0.2000 to 0.1000, did not ask 0.1000 to 0.0500"
    assert said[2] == "efficiency: 2.0 s; training anew 60.0 s"
    assert four_lines({}) == []
    assert sentences.those_who_asked({"four_views": views})[2] == "Efficiency: 2.0 s; training anew 60.0 s."


def test_few_users_are_not_shown():
    few = np.arange(20) < 4
    served = {"undefended": {"m": np.ones(20)}}
    report = AttributeInferenceEvaluator(attackers=["logistic"], attack_jobs=1, show_progress=False).evaluate(
        np.random.default_rng(0).normal(size=(20, 2)), {"g": np.arange(20) % 2}
    )
    found = four_views({"g": few}, report, served, {}, {"unlearning": 1.0, "training": None})
    assert found["utility"]["m"]["undefended"].keys() == {"all"}
    assert found["completeness"] == {}
    assert found["efficiency"] == {"unlearning": 1.0}
