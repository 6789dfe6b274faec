import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from recbole.config import Config

from recbole_aia.config.aia_config import AIAConfig, with_our_defaults
from recbole_aia.config.properties import our_properties, properties_dir, property_files
from recbole_aia.config.registry import beginnings, defenses, keys_of, known_keys
from recbole_aia.config.text import SafeLoader, parse_arguments, parse_value, to_yaml
from recbole_aia.errors import ConfigValueError


def config(*argv, **values):
    return AIAConfig("BPR", "ml-100k", config_dict=values, argv=list(argv))


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("[gender,age]", ["gender", "age"]),
            ("gender", "gender"),
            ("1e-3", 1e-3),
            ("5", 5),
            ("0.5", 0.5),
            ("True", True),
            ("None", None),
            ("{'split': {'LS': 'valid_and_test'}}", {"split": {"LS": "valid_and_test"}}),
            ("{'RS':[0.8,0.1,0.1]}", {"RS": [0.8, 0.1, 0.1]}),
            ("key", "key"),
            ("sys.path", "sys.path"),
        ],
    )
    def test_values_are_yaml(self, text, value):
        assert parse_value(text) == value

    def test_code_stays_text(self, tmp_path):
        marker = tmp_path / "ran"
        code = f"__import__('os').system('touch {marker}')"
        assert config(f"--x={code}")["x"] == code
        assert config(x=code)["x"] == code
        assert not marker.exists()

    def test_yaml_objects_are_not_built(self, tmp_path):
        marker = tmp_path / "ran"
        text = f"!!python/object/apply:os.system ['touch {marker}']"
        assert parse_value(text) == text
        file = tmp_path / "evil.yaml"
        file.write_text(f"x: {text}\n")
        with pytest.raises(ConfigValueError, match="not valid YAML"):
            AIAConfig("BPR", "ml-100k", [file], argv=[])
        assert not marker.exists()

    @given(st.text())
    @example("2024-13-45")
    @example("0b_")
    @example("!!int foo")
    def test_no_text_makes_the_parser_fail(self, text):
        parse_value(text)

    def test_an_equals_sign_in_a_value_survives(self):
        assert parse_arguments(["--path=a=b"]) == {"path": "a=b"}

    @pytest.mark.parametrize("argument", ["--flag", "gender", "-x=1", "--=1"])
    def test_an_argument_of_another_form_is_refused(self, argument):
        with pytest.raises(ConfigValueError, match="Write --key=value"):
            parse_arguments([argument])

    def test_somebody_elses_command_line_is_passed_over_and_an_explicit_one_is_not(self, monkeypatch):
        monkeypatch.setattr("sys.argv", ["pytest", "-q", "tests", "--epochs=9"])
        assert AIAConfig("BPR", "ml-100k")["epochs"] == 9
        with pytest.raises(ConfigValueError, match="'-q'"):
            config("-q")

    @pytest.mark.parametrize("name", ["2024", "2024-01-05", "1e3"])
    def test_names_and_paths_stay_text(self, name):
        assert parse_arguments([f"--output_dir={name}", f"--dataset={name}"]) == {"output_dir": name, "dataset": name}

    @given(st.dictionaries(st.text(), st.text() | st.sampled_from(["1e3", "yes", "None", "0x1", "1_000", ".5e-2"])))
    def test_what_is_written_reads_back(self, values):
        assert parse_value(to_yaml({"k": values})) == {"k": values}

    def test_intervals_reach_recbole_as_text(self):
        assert config("--user_inter_num_interval=[5,inf)")["user_inter_num_interval"] == "[5,inf)"
        assert config("--user_inter_num_interval=[5,9]")["user_inter_num_interval"] == "[5,9]"


class TestPrecedence:
    def test_the_command_line_wins_over_dict_over_files_over_ours_over_recbole(self, tmp_path):
        file = tmp_path / "a.yaml"
        file.write_text("topk: [7, 10]\nepochs: 7\nlearning_rate: 0.7\n")
        given = AIAConfig("BPR", "ml-100k", [file], {"epochs": 8, "learning_rate": 0.8}, ["--learning_rate=0.9"])
        assert (given["topk"], given["epochs"], given["learning_rate"]) == ([7, 10], 8, 0.9)
        assert given["valid_metric"] == "NDCG@10"
        assert given["train_batch_size"] == 2048

    def test_the_dataset_defaults_to_the_embedded_one(self):
        assert AIAConfig("BPR", argv=[])["dataset"] == "ml-100k"

    def test_the_paper_preset_restores_the_papers_values(self):
        paper = AIAConfig("NeuMF", "ml-100k", config_dict={"defense": "raid", "preset": "paper"}, argv=[])
        assert (paper["learner"], paper["learning_rate"], paper["rec_loss"]) == ("sgd", 1e-4, "bce")
        assert (paper["raid_phase1_epochs"], paper["epochs"], paper["raid_refresh_epochs"]) == (5, 20, 4)
        assert paper["train_neg_sample_args"]["sample_num"] == 4


class TestMistakes:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"raid_etta": 1}, "Did you mean 'raid_eta'"),
            ({"atributes": ["gender"]}, "Did you mean 'attributes'"),
            ({"defense": "riad"}, "no defense 'riad'.*raid"),
            ({"defense": "raid", "raid_eta": -1}, "raid_eta is -1. It must be a number >= 0"),
            ({"defense": "raid", "raid_tau": "much"}, "raid_tau is 'much'"),
            ({"defense": "raid", "raid_coupling": "sinkhorn"}, "one of auto, kl_projection"),
            ({"preset": "fast"}, "the defense 'none' has no preset 'fast'. Leave preset out"),
            ({"defense": "raid", "preset": "fast"}, "no preset 'fast'. Choose one of default, paper"),
            ({"attributes": []}, "attributes is"),
            ({"epochs": "many"}, "epochs is 'many'. It must be a whole number"),
            ({"shuffle": 3}, "shuffle is 3. It must be true or false"),
            ({"metrics": ["NoSuchMetric"]}, "NoSuchMetric"),
            ({"metrics": []}, "metrics is empty"),
            ({"topk": [5, 20]}, "valid_metric is NDCG@10, which is not computed"),
            ({"valid_metric": 10}, "valid_metric"),
            ({"state": "foo"}, "state is 'foo'"),
            ({"epochs": 2.5}, "epochs is 2.5. It must be a whole number"),
            ({"eval_args": 3}, "eval_args is 3. It must be a mapping"),
            ({"defense": "raid", "raid_eta": float("inf")}, "raid_eta is inf"),
            ({"raid_epochs": 5}, "no key 'raid_epochs'"),
            ({"attack_folds": 1}, "attack_folds is 1"),
            ({"attack_views": 3}, "attack_views is 3. It must be a view or a list of them"),
            ({"attack_view": "all"}, "Did you mean 'attack_views'"),
        ],
    )
    def test_each_is_said_in_one_line(self, values, message):
        with pytest.raises(ConfigValueError, match=message) as caught:
            config(**values)
        assert "\n" not in str(caught.value)

    def test_an_unknown_model_is_named(self):
        for name in ("LightGNC", "bpr"):
            with pytest.raises(ConfigValueError, match=f"no model '{name}'"):
                AIAConfig(name, "ml-100k", argv=[])

    def test_no_model_is_an_error(self):
        with pytest.raises(ConfigValueError, match="no model is given"):
            AIAConfig(argv=[])

    def test_a_missing_or_broken_file_is_named(self, tmp_path):
        with pytest.raises(ConfigValueError, match=r"nowhere\.yaml' does not exist"):
            AIAConfig("BPR", "ml-100k", ["nowhere.yaml"], argv=[])
        broken = tmp_path / "broken.yaml"
        broken.write_text("epochs: [1\nseed: 2\n")
        with pytest.raises(ConfigValueError, match="line"):
            AIAConfig("BPR", "ml-100k", [broken], argv=[])

    def test_a_file_that_is_not_utf8_or_has_no_names_is_refused(self, tmp_path):
        for content, message in ((b"epochs: 3 # \xe9", "not UTF-8"), (b"1: 2", "key: value"), (b"- a", "key: value")):
            (tmp_path / "odd.yaml").write_bytes(content)
            with pytest.raises(ConfigValueError, match=message):
                AIAConfig("BPR", "ml-100k", [tmp_path / "odd.yaml"], argv=[])


class TestPropertyFiles:
    def test_they_say_what_the_declarations_say(self):
        for name, text in property_files().items():
            path = properties_dir() / f"{name}.yaml"
            assert path.read_text(encoding="utf-8") == text, "run python docs/generate.py"

    def test_they_read_back_as_the_declared_defaults(self):
        for stages in defenses().values():
            for each in stages.values():
                file = yaml.load((properties_dir() / f"defense/{each.defense}.yaml").read_text(), SafeLoader) or {}
                assert {name: file[name] for name in keys_of(each)} == {n: k.default for n, k in keys_of(each).items()}

    def test_every_defense_has_one_and_no_other_file_is_there(self):
        there = {path.stem for path in (properties_dir() / "defense").glob("*.yaml")}
        assert there == {name.removeprefix("defense/") for name in property_files() if name.startswith("defense/")}


@pytest.mark.parametrize("defense", ["none", "calibrated", "raid", "attrcloak", "u2u", "d2d", "dp", "noise"])
def test_shipped_defaults_are_accepted(defense):
    values = our_properties("BPR", "ml-100k", defense, "default")
    assert all(key.accepts(values[name]) for name, key in known_keys().items() if name in values)


class TestKeysThatAreMisspelt:
    """Whatever begins like a key that a defense or the attack declares can only mean ours."""

    def test_each_beginning_of_a_declared_key_is_ours(self):
        for beginning in beginnings():
            key = f"{beginning}misspelt"
            with pytest.raises(ConfigValueError, match=f"there is no key '{key}'"):
                config(**{key: 1})

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("calibrated_weight", "calibrated"),
            ("noise_sigma", "noise_scale"),
            ("holdout", "holdout_users"),
            ("holdout_user", "holdout_users"),
            ("defence", "defense"),
        ],
    )
    def test_the_key_that_was_meant_is_named(self, key, meant):
        with pytest.raises(ConfigValueError, match=f"there is no key '{key}'.*{meant}"):
            config(**{key: 1})

    @pytest.mark.parametrize(
        "key", ["my_own_weight", "select_k", "multi_k", "item_learning_rates", "noise", "init_scale"]
    )
    def test_keys_of_a_users_own_model_pass(self, key):
        assert config(**{key: 3})[key] == 3


class TestKeysThatAreNotRead:
    """What cannot apply is refused or said: a defense that ignores an option would look as if it had taken it."""

    CASES = (
        ({"defense": "u2u", "multi": "sequential"}, "multi is 'sequential', and --defense=u2u at stage post does not"),
        ({"defense": "d2d", "stage": "in", "multi": "sequential"}, "d2d at stage in does not read it: raid would"),
        ({"defense": "attrcloak", "raid_eta": 2.0}, "raid_eta is 2.0, and --defense=attrcloak does not read it: raid"),
        ({"defense": "calibrated", "calibrated_mode": "data_dependent"}, r"calibrated \(stage post\) would"),
        ({"defense": "calibrated", "target": "table"}, "calibrated at stage in does not read it"),
        ({"defense": "calibrated", "stage": "post", "calibrated_epochs": 3}, r"calibrated \(stage in\) would"),
        ({"defense": "dp", "select": "valid_after_phase1"}, "dp does not read it"),
        ({"holdout_users": 0.2}, "none does not read it"),
        ({"init_checkpoint": "a.pth"}, "none does not read it"),
    )

    @pytest.mark.parametrize(("values", "message"), CASES)
    def test_each_is_refused_in_one_line_on_the_command_line(self, values, message):
        with pytest.raises(ConfigValueError, match=message) as caught:
            config(*(f"--{key}={value}" for key, value in values.items()))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("values", "message"), CASES)
    def test_each_is_said_where_a_file_or_a_dict_may_serve_several_defenses(self, values, message, caplog):
        (said,) = config(**values).unread
        assert re.search(message, said)
        assert said in caplog.text

    @pytest.mark.parametrize("defense", ["none", "attrcloak", "u2u", "calibrated"])
    def test_a_preset_that_a_defense_does_not_have_is_refused_wherever_it_stands(self, defense):
        with pytest.raises(ConfigValueError, match=f"the defense '{defense}' has no preset 'paper'"):
            config(defense=defense, preset="paper")
        plain = Config("BPR", "ml-100k", config_dict={"preset": "paper"})
        with pytest.raises(ConfigValueError, match="has no preset 'paper'"):
            with_our_defaults(plain, defense)

    def test_defaults_of_other_defenses_pass_as_a_runs_own_file_has_them_all(self):
        assert not config(defense="attrcloak", raid_eta=1.0, multi="joint").unread


def test_a_plain_recbole_config_is_completed_and_keeps_its_own_settings():
    plain = Config("BPR", "ml-100k", config_dict={"epochs": 17, "raid_eta": 3.0})
    completed = with_our_defaults(plain, "raid")
    assert completed is plain
    assert (plain["epochs"], plain["raid_eta"], plain["raid_tau"]) == (17, 3.0, 1.0)
    assert plain["attributes"] == ["gender", "age"]
    assert plain["valid_metric"] == "MRR@10"
    plain["attributes"] = "[gender,age]"  # what RecBole makes of --attributes=[gender,age]
    assert with_our_defaults(plain, "raid")["attributes"] == ["gender", "age"]


def test_the_evaluator_alone_has_the_same_defaults_as_a_run():
    from recbole_aia.evaluator import AttackSettings

    shipped = our_properties("BPR", "ml-100k", "none", "default")
    assert AttackSettings.from_config(shipped, {}) == AttackSettings()
