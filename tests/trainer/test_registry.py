"""How a defense is registered: one class and its keys, ours and others' alike."""

import copy

import pytest

from recbole_aia import DefenseTrainer, Unlearner, keys, register_defense
from recbole_aia.config import registry
from recbole_aia.config.registry import defense_class, defenses
from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer import CalibratedTrainer, CalibratedUnlearner


class Shrink(Unlearner):
    """Vectors are shrunk."""

    defense = "shrink"
    keys = {"shrink_factor": keys.Number(0.5, "What vectors are multiplied by.", low=0)}

    def edit(self, task, train_data):
        return {}


class Other(Shrink):
    """The same under the same name."""


@pytest.fixture(autouse=True)
def _own_list(monkeypatch):
    monkeypatch.setattr(registry, "_DEFENSES", copy.deepcopy(defenses()))


def test_a_decorated_class_is_offered_by_its_name_and_stays_itself():
    assert register_defense(Shrink) is Shrink
    assert register_defense()(Shrink) is Shrink
    assert defense_class("shrink") is Shrink
    assert registry.readers("shrink_factor") == ["shrink"]


@pytest.mark.parametrize("taken", [Shrink, CalibratedUnlearner])
def test_a_taken_name_is_refused_its_owner_named_and_taken_over_on_purpose(taken):
    register_defense(taken)
    mine = type("Mine", (taken,), {"keys": {}})
    with pytest.raises(ConfigValueError, match=rf"already: .*\.{taken.__name__}\. .*replace=True"):
        register_defense(mine)
    assert defense_class(taken.defense, "post") is taken
    assert register_defense(mine, replace=True) is mine
    assert defense_class(taken.defense, "post") is mine


def test_a_name_may_have_a_class_for_each_stage_and_the_first_is_the_default():
    register_defense(Shrink)
    during = register_defense(type("During", (CalibratedTrainer,), {"defense": "shrink"}))
    assert defense_class("shrink") is Shrink
    assert defense_class("shrink", "in") is during


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (object, "no defense"),
        ("shrink", "no defense"),
        (type("Half", (Unlearner,), {"defense": "half"}), "has no edit"),
        (type("Idle", (DefenseTrainer,), {"defense": "idle"}), "has no phases"),
        (type("Nameless", (Shrink,), {"defense": None}), "is called None"),
        (type("Loud", (Shrink,), {"defense": "Loud Name"}), "is called 'Loud Name'"),
        (type("Late", (Shrink,), {"stage": "late"}), "must be in or post"),
        (type("Plain", (Shrink,), {"keys": {"plain_rank": 1}}), "declares the key 'plain_rank' as 1"),
        (type("Odd", (Shrink,), {"keys": {"shrink_rank": keys.Count(0, "", low=1)}}), "shrink_rank is 0"),
        (type("Listed", (Shrink,), {"keys": ["shrink_rank"]}), "Give a mapping"),
        (type("Greedy", (Shrink,), {"keys": {"learning_rate": keys.Number(5.0, "")}}), "'shrink_learning_rate'"),
        (type("Nothing", (Shrink,), {"defense": "none"}), "'none' is no defense"),
        (type("Clash", (Shrink,), {"keys": {"raid_eta": keys.Flag(True, "")}}), "'raid_eta' as true or false, and"),
    ],
)
def test_what_is_no_complete_defense_is_refused_in_one_line(defense, words):
    with pytest.raises(ConfigValueError, match=words) as refused:
        register_defense(defense)
    assert "\n" not in str(refused.value)
    assert defenses().keys() == registry._DEFENSES.keys()
