from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from recbole_aia import Unlearner
from recbole_aia.config import registry
from recbole_aia.config.keys import Choice, Count, Number
from recbole_aia.errors import ConfigValueError


class Erasure(Unlearner):
    """A defense of a guest."""

    defense = "erasure"
    keys: ClassVar = {"erasure_rank": Count(1, "Directions.", low=1)}


class SameName(Erasure):
    """Another defense of that name."""


class DuringTraining(Erasure):
    """The same defense at another stage."""

    stage = "in"
    keys: ClassVar = {"erasure_epochs": Count(3, "Epochs.", low=1)}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_DEFENSES", registry.defenses())
    monkeypatch.setattr(registry, "_COMMON", registry.common_keys())


class TestAddDefense:
    def test_it_is_offered_with_its_keys_by_name_and_stage(self):
        registry.add_defense(Erasure)
        assert registry.defense_class("erasure") is registry.defense_class("erasure", "post") is Erasure
        assert registry.known_keys()["erasure_rank"] is Erasure.keys["erasure_rank"]
        assert "erasure_" in registry.beginnings()

    def test_a_taken_name_is_refused_unless_it_is_replaced(self):
        registry.add_defense(Erasure)
        registry.add_defense(Erasure)
        with pytest.raises(ConfigValueError, match="there is a defense 'erasure' for the stage post already") as caught:
            registry.add_defense(SameName)
        assert f"{Erasure.__module__}.Erasure" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert registry.defense_class("erasure") is Erasure
        registry.add_defense(SameName, replace=True)
        assert registry.defense_class("erasure") is SameName

    def test_another_stage_of_the_same_name_is_welcome(self):
        registry.add_defense(Erasure)
        registry.add_defense(DuringTraining)
        assert list(registry.defenses()["erasure"]) == ["post", "in"]
        assert registry.defense_class("erasure") is Erasure  # the first stage is the default

    @pytest.mark.parametrize(
        ("name", "key", "owner"),
        [
            ("raid_eta", Count(1, "."), "RAIDTrainer"),
            ("raid_eta", Number(1.0, ".", low=1), "RAIDTrainer"),
            ("attack_folds", Number(None, "."), "The attack"),
            ("stage", Choice(None, ".", choices=("a", "b")), "What is protected and attacked"),
        ],
    )
    def test_a_key_that_is_declared_otherwise_elsewhere_is_refused(self, name, key, owner):
        clashing = type("Clashing", (Erasure,), {"keys": {name: key}})
        with pytest.raises(ConfigValueError, match=f"Clashing declares the key '{name}' as {key.expected}") as caught:
            registry.add_defense(clashing)
        assert f"and {owner} as " in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "erasure" not in registry.defenses()

    def test_a_key_may_have_another_default_elsewhere(self):
        eta = registry.known_keys()["raid_eta"]
        agreeing = type("Agreeing", (Erasure,), {"keys": {"raid_eta": type(eta)(**{**vars(eta), "default": 7.0})}})
        registry.add_defense(agreeing)
        assert registry.keys_of(registry.defense_class("erasure"))["raid_eta"].default == 7.0

    def test_one_that_is_removed_is_gone_with_its_keys(self):
        registry.add_defense(Erasure)
        registry.add_defense(DuringTraining)
        registry.remove_defense("erasure", "post")
        assert list(registry.defenses()["erasure"]) == ["in"]
        registry.remove_defense("erasure", "in")
        assert "erasure" not in registry.defenses()
        assert "erasure_rank" not in registry.known_keys()


def test_a_defense_or_a_stage_that_there_is_not_is_refused_with_those_on_offer():
    with pytest.raises(ConfigValueError, match=r"no defense 'riad'\. Choose one of adversarial, attrcloak, .*raid"):
        registry.defense_class("riad")
    with pytest.raises(ConfigValueError, match="'dp' has no stage 'in', only post"):
        registry.defense_class("dp", "in")


def test_keys_that_only_show_store_or_place_a_run_are_named():
    named = registry.presentation_keys()
    assert {"output_dir", "show_progress", "gpu_id", "attack_jobs", "reuse_undefended"} <= named
    assert not {"raid_eta", "attributes", "attack_folds", "init_std", "epochs", "seed"} & named


class TestReaders:
    def test_they_are_named_with_the_stage_where_the_other_one_does_not_read_it(self):
        registry.add_defense(Erasure)
        assert registry.readers("erasure_rank") == ["erasure"]
        registry.add_defense(DuringTraining)
        assert registry.readers("erasure_rank") == ["erasure (stage post)"]
        assert registry.readers("calibrated_mode") == ["calibrated (stage post)"]

    def test_a_key_of_every_run_or_of_nobody_has_none(self):
        assert registry.readers("attack_folds") == registry.readers("nothing") == []


def test_beginnings_are_those_of_single_defenses_and_of_attacks():
    found = registry.beginnings()
    assert {"raid_", "attrcloak_", "calibrated_", "u2u_", "noise_", "attack_"} <= found
    assert not {"init_", "output_", "target_", "learning_", "rec_"} & found


class TestPlugins:
    @pytest.fixture
    def installed(self, monkeypatch):
        """Makes entry points of their names and values, as installed packages would."""

        def install(**values):
            points = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in values.items()]
            asked = []
            monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or points)
            registry.load_guests.cache_clear()
            registry.load_plugins.cache_clear()
            return asked

        yield install
        monkeypatch.undo()
        registry.load_guests.cache_clear()
        registry.load_plugins.cache_clear()
        registry.load_plugins()

    def test_one_that_is_installed_is_imported_when_somebody_asks_for_a_defense_and_once(
        self, installed, monkeypatch, tmp_path, capsys
    ):
        (tmp_path / "welcome_guest.py").write_text("print('welcome')\n")
        monkeypatch.syspath_prepend(tmp_path)
        asked = installed(guest="welcome_guest")
        registry.defenses()
        registry.known_keys()
        assert capsys.readouterr().out == "welcome\n"
        assert asked == ["recbole_aia.plugins"]

    @pytest.mark.parametrize(
        ("value", "said"),
        [("no_such_guest", "ModuleNotFoundError"), ("broken_guest", "ZeroDivisionError: division by zero")],
    )
    def test_one_that_is_broken_is_a_warning_and_the_others_work(
        self, installed, monkeypatch, tmp_path, caplog, value, said
    ):
        (tmp_path / "broken_guest.py").write_text("1 / 0\n")
        monkeypatch.syspath_prepend(tmp_path)
        installed(broken=value, working="json")
        assert "raid" in registry.defenses()
        (record,) = [record for record in caplog.records if "plugin" in record.message]
        assert record.levelname == "WARNING"
        assert f"the plugin 'broken' ({value}) cannot be loaded ({said}" in record.message
        assert "\n" not in record.message
