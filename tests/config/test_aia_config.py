import re

import pytest
from recbole.config import Config

from recbole_aia.config.aia_config import AIAConfig, with_our_defaults
from recbole_aia.config.registry import beginnings
from recbole_aia.errors import ConfigValueError


def config(*argv, **values):
    return AIAConfig("BPR", "ml-100k", config_dict=values, argv=list(argv))


class TestTexts:
    def test_code_stays_text(self, tmp_path):
        marker = tmp_path / "ran"
        code = f"__import__('os').system('touch {marker}')"
        assert config(f"--x={code}")["x"] == code
        assert config(x=code)["x"] == code
        assert not marker.exists()

    def test_yaml_objects_are_not_built(self, tmp_path):
        (tmp_path / "evil.yaml").write_text(f"x: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']\n")
        with pytest.raises(ConfigValueError, match="not valid YAML"):
            AIAConfig("BPR", "ml-100k", [tmp_path / "evil.yaml"], argv=[])
        assert not (tmp_path / "ran").exists()

    def test_somebody_elses_command_line_is_passed_over_and_an_explicit_one_is_not(self, monkeypatch):
        monkeypatch.setattr("sys.argv", ["pytest", "-q", "tests", "--epochs=9"])
        assert AIAConfig("BPR", "ml-100k")["epochs"] == 9
        with pytest.raises(ConfigValueError, match="'-q'"):
            config("-q")

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
            ({"metrics": []}, "It must be metrics, each once"),
            ({"topk": [5, 20]}, "valid_metric is NDCG@10, which is not computed"),
            ({"valid_metric": 10}, "valid_metric"),
            ({"state": "foo"}, "state is 'foo'"),
            ({"epochs": 2.5}, "epochs is 2.5. It must be a whole number"),
            ({"eval_args": 3}, "eval_args is 3. It must be a mapping of split"),
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

    @pytest.mark.parametrize("defense", ["none", "dp", "noise", "calibrated"])
    def test_a_preset_that_a_defense_does_not_have_is_refused_wherever_it_stands(self, defense):
        with pytest.raises(ConfigValueError, match=f"the defense '{defense}' has no preset 'paper'"):
            config(defense=defense, preset="paper")
        plain = Config("BPR", "ml-100k", config_dict={"preset": "paper"})
        with pytest.raises(ConfigValueError, match="has no preset 'paper'"):
            with_our_defaults(plain, defense)

    def test_whoever_types_a_default_expects_it_to_count_too(self):
        with pytest.raises(ConfigValueError, match="u2u at stage post does not read it"):
            config("--defense=u2u", "--multi=joint")

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


def test_a_misspelt_key_in_a_plain_recbole_config_is_refused_too():
    plain = Config("BPR", "ml-100k", config_dict={"calibrated_step": 5})
    with pytest.raises(ConfigValueError, match="Did you mean 'calibrated_steps'"):
        with_our_defaults(plain, "calibrated")
