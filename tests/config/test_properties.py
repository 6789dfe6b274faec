import pytest
import yaml

from recbole_aia.config.properties import (
    check_preset,
    help_text,
    keys_text,
    our_properties,
    presets,
    properties_dir,
    property_files,
)
from recbole_aia.config.registry import defenses, keys_of, known_keys
from recbole_aia.config.text import SafeLoader
from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator import AttackSettings


class TestPropertyFiles:
    def test_they_say_what_the_declarations_say(self):
        for name, text in property_files().items():
            made, written = (properties_dir() / f"{name}.yaml").read_text(encoding="utf-8").split("\n", 1)
            assert made.startswith("# Made by docs/generate.py")
            assert written == text, "run python docs/generate.py"

    def test_they_read_back_as_the_declared_defaults(self):
        for stages in defenses().values():
            for each in stages.values():
                file = yaml.load((properties_dir() / f"defense/{each.defense}.yaml").read_text(), SafeLoader) or {}
                assert {name: file[name] for name in keys_of(each)} == {n: k.default for n, k in keys_of(each).items()}

    def test_every_defense_has_one_and_no_other_file_is_there(self):
        there = {path.stem for path in (properties_dir() / "defense").glob("*.yaml")}
        assert there == {name.removeprefix("defense/") for name in property_files() if name.startswith("defense/")}

    def test_a_key_stands_on_one_line_with_its_default_its_range_and_what_it_does(self):
        keys = {name: key for name, key in known_keys().items() if name in ("raid_eta", "output_dir", "attack_folds")}
        for line, (name, key) in zip(keys_text(keys).splitlines(), keys.items(), strict=True):
            assert line.startswith(f"{name}: ")
            assert line.endswith(f"# ({key.kind}) {key.text}")

    def test_keys_of_one_stage_alone_stand_under_its_heading(self):
        common, during, after = property_files()["defense/calibrated"].split("\n# ")[:3]
        assert "calibrated_epochs" in during
        assert during.startswith("During training (stage: in)")
        assert after.startswith("After training (stage: post)")
        assert "calibrated_mode" in after
        assert "init_checkpoint" in common


class TestDefaults:
    @pytest.mark.parametrize("defense", defenses())
    def test_shipped_ones_are_accepted(self, defense):
        for preset in ("default", *presets(defense)):
            values = our_properties("BPR", "ml-100k", defense, preset)
            assert all(key.accepts(values[name]) for name, key in known_keys().items() if name in values)

    def test_the_more_particular_wins(self):
        raid, paper = (our_properties("BPR", "ml-100k", "raid", preset) for preset in ("default", "paper"))
        assert paper | presets("raid")["paper"] == paper
        assert raid["attributes"] == ["gender", "age"]  # of the dataset's file, over the declared default
        assert "raid_eta" not in our_properties("BPR", "ml-100k", "none", "default")

    def test_the_default_of_a_key_is_that_of_the_defenses_own_stage(self):
        for name, stages in defenses().items():
            values, own = our_properties("BPR", "ml-100k", name, "default"), next(iter(stages.values()))
            assert {key: values[key] for key in keys_of(own)} == {key: k.default for key, k in keys_of(own).items()}

    def test_the_evaluator_alone_has_the_same_as_a_run(self):
        shipped = our_properties("BPR", "ml-100k", "none", "default")
        assert AttackSettings.from_config(shipped, {}) == AttackSettings()


def test_a_preset_is_checked_against_those_of_the_defense():
    for preset in ("default", "paper"):
        check_preset("raid", preset)
    with pytest.raises(ConfigValueError, match="Choose one of default, paper"):
        check_preset("raid", "fast")
    with pytest.raises(ConfigValueError, match="Leave preset out"):
        check_preset("none", "paper")


def test_help_has_every_key_or_those_of_one_defense():
    everything = help_text()
    for name in known_keys():
        assert f"\n{name}: " in everything
    assert "raid_eta: " in help_text(["raid"])
    assert "raid_eta: " not in help_text(["dp"])
