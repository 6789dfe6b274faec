import numpy as np
import pytest

from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.report import holdout_findings, holdout_verdict

SETTINGS = {"attackers": ["logistic"], "attack_repeats": 1, "attack_permutations": 20, "attack_jobs": 1}


@pytest.fixture(scope="module")
def report():
    """In the defended state only the last 100 of 400 users leak, and their profile leaks in both."""
    rng, classes = np.random.default_rng(0), np.arange(400) % 2
    noise, evaluator = rng.normal(size=(400, 4)), AttributeInferenceEvaluator(SETTINGS, show_progress=False)
    leak = 3.0 * classes[:, None]
    states = {"undefended": noise + leak, "defended": noise + leak * (np.arange(400) >= 300)[:, None]}
    report = evaluator.evaluate(noise + 2 * leak, {"gender": classes}, view="profile")
    for state, points in states.items():
        report += evaluator.evaluate(points, {"gender": classes}, state=state)
    return report


def test_the_leak_is_found_among_those_whose_labels_the_defense_did_not_see(report):
    found = holdout_findings(report, np.arange(400) >= 300, 0.25)
    assert (found["share"], found["n_users"], len(found["rows"])) == (0.25, 100, 6)
    worst = found["worst_case"]["gender"]
    assert worst["seen"]["undefended"]["advantage"] > 0.8
    assert worst["unseen"]["defended"]["advantage"] > 0.8 > worst["unseen"]["defended"]["floor"]
    assert worst["seen"]["defended"]["advantage"] < worst["seen"]["defended"]["floor"]
    assert worst["unseen"]["undefended"]["view"] == "served"


def test_a_group_of_too_few_users_is_said_to_be_so(report):
    found = holdout_findings(report, np.arange(400) >= 398, 0.005)
    assert found["worst_case"]["gender"]["unseen"] == {"undefended": None, "defended": None}
    first, *lines = holdout_verdict({"holdout": found}).splitlines()
    assert first == "2 users' labels were held out of the defense"
    assert lines[0].startswith("labels the defense saw: worst case for gender: undefended ")
    assert lines[1].endswith("did not see: worst case for gender: undefended too few users, defended too few users")


def test_nothing_is_said_where_no_labels_were_held_out():
    assert holdout_verdict({}) == ""
