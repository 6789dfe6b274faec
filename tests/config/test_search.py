import pytest

from recbole_aia.config.registry import defenses, is_ours
from recbole_aia.config.search import Choices, Range, Sweep
from recbole_aia.errors import ConfigValueError

NOISE = {"model": "BPR", "defense": "noise", "bound": 0.2}


def searched(search, **values):
    return Sweep.of({**NOISE, "search": search, **values}).domains


def test_a_mapping_is_a_range_and_a_list_are_choices():
    found = searched({"noise_scale": {"low": 0.1, "high": 10, "log": True}, "target": [None, "table", None]})
    assert found == {"noise_scale": Range(0.1, 10, log=True), "target": Choices((None, "table"))}
    assert searched({"unlearn_max_steps": {"low": 5, "high": 9}}, defense="attrcloak") == {
        "unlearn_max_steps": Range(5, 9, whole=True)
    }


def test_true_and_1_are_two_choices():
    assert searched({"noise_scale": [1, 1.0, 2]})["noise_scale"].values == (1, 1.0, 2)


def test_keys_of_runs_stand_beside_those_of_the_sweep_in_a_file(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "{model: BPR, defense: noise, epochs: 3, bound: 0.1, trials: 4, output_dir: here}", encoding="utf-8"
    )
    plan = Sweep.of({"bound": 0.3}, file)
    assert (plan.settings, plan.bound, plan.trials) == ({"model": "BPR", "defense": "noise", "epochs": 3}, 0.3, 4)
    assert str(plan.output_dir) == "here"
    again = Sweep.of(plan.as_file())
    assert (again.settings, again.domains, again.bound, again.trials) == (
        plan.settings, plan.domains, plan.bound, plan.trials,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name, stages in defenses().items() for stage in stages if name != "none"]
)
def test_what_a_defense_declares_can_be_searched(name, stage):
    defense = defenses()[name][stage]
    if is_ours(defense):
        assert Sweep.of({**NOISE, "defense": name, "stage": stage}).domains.keys() == defense.search.keys() != set()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"noise_scal": [1]}, "is no key of noise (stage post). Did you mean noise_scale"),
        ({"epochs": [1]}, "search has 'epochs', which is no key of noise"),
        ({1: [1]}, "search has 1, which is no key"),
        ({"noise_scale": 1}, "search has 1 for noise_scale. It must be a list of values"),
        ({"noise_scale": []}, "It must be a list of values"),
        ({"noise_scale": {"low": 1}}, "It must be a list of values"),
        ({"noise_scale": {"low": 1, "high": 2, "step": 1}}, "It must be a list of values"),
        ({"noise_scale": {"low": 0, "high": 2}}, "search: noise_scale is 0. It must be a number > 0"),
        ({"noise_scale": {"low": "a", "high": 2}}, "search has 'a' as an end of noise_scale"),
        ({"noise_scale": {"low": True, "high": 2}}, "search has True as an end of noise_scale"),
        ({"noise_scale": {"low": 1, "high": float("inf")}}, "noise_scale is inf"),
        ({"noise_scale": {"low": 2, "high": 2}}, "low must be below high"),
        ({"noise_scale": {"low": 1, "high": 2, "log": 1}}, "search has 1 as log of noise_scale"),
        ({"noise_scale": [1, -1]}, "search: noise_scale is -1"),
        ({"noise_scale": [[1]]}, "Each must be a single value"),
        ({"target": {"low": 1, "high": 2}}, "search has a range for target, which is one of table"),
        ({}, "noise declares nothing to search"),
        ([1], "search is [1]. It must give each key"),
        (None, "search is None. It must give each key"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(search, message):
    with pytest.raises(ConfigValueError) as caught:
        searched(search)
    assert message in str(caught.value)


def test_a_range_by_logarithms_begins_above_0():
    with pytest.raises(ConfigValueError, match="Its low must be above 0"):
        searched({"leace_covariances": {"low": 0, "high": 4, "log": True}}, defense="leace")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bound": None}, "Give --bound 0.15, say"),
        ({"bound": 1.5}, "the bound is 1.5"),
        ({"bound": float("nan")}, "the bound is nan"),
        ({"bound": "low"}, "the bound is 'low'"),
        ({"trials": 0}, "the number of trials is 0"),
        ({"trials": 2.5}, "the number of trials is 2.5"),
        ({"defense": "none"}, "Give --defense calibrated, say"),
        ({"defense": "noize"}, "there is no defense 'noize'"),
        ({"stage": "in"}, "has no stage 'in'"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(values, message):
    with pytest.raises(ConfigValueError, match=r"\.") as caught:
        Sweep.of({**NOISE, **values})
    assert message in str(caught.value)
