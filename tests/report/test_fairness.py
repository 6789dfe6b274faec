import numpy as np
import pytest
from pages import results

from recbole_aia.report import fairness, fairness_lines
from recbole_aia.report.page import sentences

NAN = float("nan")


def test_classes_have_the_means_of_their_evaluated_users():
    values = np.array([1.0, 0.0, NAN, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9])
    codes = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, -1])
    codes[:2] = 0
    found = fairness(
        {"undefended": {"ndcg@10": np.append(values, [0.0, 1.0])}}, {"g": np.append(codes, [0, 0])}, {"g": ["a", "b"]}
    )
    metric = found["g"]["undefended"]["ndcg@10"]
    assert metric["classes"] == {"a": {"mean": pytest.approx(4 / 6), "n_users": 6}, "b": {"mean": 0.5, "n_users": 5}}
    assert (metric["gap"]["best"], metric["gap"]["worst"]) == ("a", "b")
    assert metric["gap"]["mean"] == pytest.approx(4 / 6 - 0.5)


def test_the_interval_holds_the_true_gap_in_about_95_of_100_samples():
    rng, held = np.random.default_rng(0), 0
    codes = np.repeat([0, 1], [100, 300])
    for _ in range(300):
        values = rng.random(400) * 0.5 + 0.2 * (codes == 0)
        gap = fairness({"undefended": {"m": values}}, {"g": codes}, {"g": ["a", "b"]})["g"]["undefended"]["m"]["gap"]
        held += gap["ci95"][0] <= 0.2 <= gap["ci95"][1]
    assert 275 <= held <= 297


def test_small_classes_are_not_shown_nor_an_attribute_without_two_others():
    values, codes = np.ones(14), np.repeat([0, 1, 2], [5, 5, 4])
    states = {"undefended": {"m": values}}
    assert fairness(states, {"g": codes}, {"g": ["a", "b", "c"]})["g"]["undefended"]["m"]["classes"].keys() == {
        "a",
        "b",
    }
    assert fairness(states, {"g": np.repeat([0, 1], [10, 4])}, {"g": ["a", "b"]}) == {}


def test_a_state_of_which_nothing_is_known_leaves_all_out():
    states = {"undefended": {}, "defended": {"m": np.ones(10)}}
    assert fairness(states, {"g": np.repeat([0, 1], 5)}, {"g": ["a", "b"]}) == {}


def test_the_gap_is_said_in_the_table_and_on_the_page():
    values, codes = np.repeat([0.2, 0.1], 10), np.repeat([0, 1], 10)
    states = {state: {"ndcg@10": values} for state in ("undefended", "defended")}
    found = results(fairness=fairness(states, {"gender": codes}, {"gender": ["F", "M"]}))
    assert (
        "NDCG@10, largest gap by gender: undefended 0.1000 [0.1000, 0.1000] (F over M), defended"
        in fairness_lines(found)[0]
    )
    assert "by 0.1000 before (F over M" in sentences.who_is_served(found)[0]
