import numpy as np
import pytest

from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator import Attacker, register_attacker, registered_attackers
from recbole_aia.evaluator.attackers import base


class Guess(Attacker):
    name = "guess"

    def fit(self, embeddings, classes, seed):
        self.n_classes = classes.max() + 1
        return self

    def predict_proba(self, embeddings):
        return np.full((len(embeddings), self.n_classes), 1 / self.n_classes)


class SameName(Guess):
    pass


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(base, "_REGISTRY", registered_attackers())


def test_a_decorated_class_is_offered_by_its_name_and_stays_itself():
    assert register_attacker(Guess) is Guess
    assert registered_attackers()["guess"] is Guess


def test_registering_the_same_class_again_changes_nothing():
    register_attacker(register_attacker(Guess))
    assert list(registered_attackers())[-1] == "guess"


def test_a_taken_name_is_refused_and_its_owner_named():
    register_attacker(Guess)
    with pytest.raises(ConfigValueError, match=r"already .*test_registry\.Guess\. .*replace=True") as refused:
        register_attacker(SameName)
    assert "\n" not in str(refused.value)
    assert registered_attackers()["guess"] is Guess


def test_ours_cannot_be_taken_over_by_accident():
    with pytest.raises(ConfigValueError, match="LogisticAttacker"):
        register_attacker(type("Mine", (Guess,), {"name": "logistic"}))


def test_a_name_can_be_taken_over_on_purpose():
    register_attacker(Guess)
    assert register_attacker(SameName, replace=True) is SameName
    assert registered_attackers()["guess"] is SameName


@pytest.mark.parametrize(
    ("attacker", "words"),
    [
        (object, "no attacker"),
        (Guess(), "no attacker"),
        (type("Half", (Attacker,), {"name": "half", "fit": Guess.fit}), "lacks predict_proba"),
        (type("Nameless", (Attacker,), {"fit": Guess.fit, "predict_proba": Guess.predict_proba}), "the name None"),
        (type("Number", (Guess,), {"name": 7}), "the name 7"),
        (type("Blank", (Guess,), {"name": " "}), "the name ' '"),
    ],
)
def test_what_is_no_complete_attacker_is_refused_in_one_line(attacker, words):
    with pytest.raises(ConfigValueError, match=words) as refused:
        register_attacker(attacker)
    assert "\n" not in str(refused.value)
