import pytest
import torch

from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator, registered_attackers
from recbole_aia.evaluator.presets import PRESETS


class RecBoleLikeConfig:
    """RecBole's Config answers None for a key that it does not know, and has no ``get``."""

    def __init__(self, **values):
        self.values = values

    def __getitem__(self, key):
        return self.values.get(key)


class TestSettings:
    def test_defaults(self):
        for config in (None, {}, RecBoleLikeConfig()):
            settings = AttributeInferenceEvaluator(config).settings
            assert settings.attackers == ("logistic", "mlp_raid", "mlp", "xgboost")
            assert (settings.attack_folds, settings.attack_repeats, settings.attack_permutations) == (5, 2, 200)
            assert settings.attack_jobs is None

    def test_overrides_win_over_the_configuration_and_foreign_keys_are_ignored(self):
        config = RecBoleLikeConfig(attack_folds=4, attack_repeats=2, attackers="mlp", learning_rate=1)
        settings = AttributeInferenceEvaluator(config, attack_folds=3).settings
        assert (settings.attack_folds, settings.attack_repeats, settings.attackers) == (3, 2, ("mlp",))

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ({"attackers": ["mlp_riad"]}, "unknown attacker 'mlp_riad'. Did you mean mlp_raid"),
            ({"protocol": "stricct"}, "unknown protocol 'stricct'. Did you mean strict"),
            ({"protocol": 1}, "unknown protocol 1. There are default, raid"),
            ({"attackers": []}, r"attackers is \[\]"),
            ({"attackers": ["mlp", "mlp"]}, "each once"),
            ({"attackers": 3}, "unknown attacker 3"),
            ({"attack_folds": 1}, "attack_folds is 1. It must be a whole number >= 2"),
            ({"attack_folds": 2.0}, "attack_folds is 2.0"),
            ({"attack_repeats": True}, "attack_repeats is True"),
            ({"attack_balance": "oversample"}, "attack_balance is 'oversample'.* There are none, undersample"),
            ({"attack_permutations": 19}, "attack_permutations is 19. It must be a whole number >= 20"),
            ({"attack_leak_ratios": [0.2, 0.9]}, r"attack_leak_ratios is \[0.2, 0.9\].* > 0 and <= 0.8, what 5 folds"),
            ({"attack_leak_ratios": 0.0}, r"attack_leak_ratios is \[0.0\]"),
            ({"attack_leak_ratios": []}, r"attack_leak_ratios is \[\]"),
            ({"attack_leak_ratios": [0.2, 0.2]}, "each once"),
            ({"attack_leak_ratios": "all"}, "attack_leak_ratios is"),
            ({"device": "gpu"}, "device is 'gpu'. It must be auto, cpu, cuda or"),
            ({"device": "cuda:99"}, "device is 'cuda:99', and torch sees .* Write --device=cpu"),
            ({"attack_jobs": 0}, "attack_jobs is 0.*null"),
            ({"seed": -1}, "seed is -1"),
            ({"show_progress": "yes"}, "show_progress is 'yes'"),
            ({"attack_fold": 5}, "unknown attack setting 'attack_fold'. Did you mean attack_folds"),
        ],
    )
    def test_a_wrong_value_is_refused_with_what_is_allowed(self, override, message):
        with pytest.raises(ConfigValueError, match=message):
            AttributeInferenceEvaluator(**override)

    def test_one_leak_ratio_is_a_list_of_one_and_more_folds_leave_more(self):
        assert AttributeInferenceEvaluator(attack_leak_ratios=0.2).settings.attack_leak_ratios == (0.2,)
        assert AttributeInferenceEvaluator(attack_leak_ratios=[0.9], attack_folds=10).settings.attack_folds == 10

    def test_recboles_device_is_taken_as_it_is(self):
        assert AttributeInferenceEvaluator(RecBoleLikeConfig(device=torch.device("cpu"))).settings.device == "cpu"

    def test_without_one_it_is_the_devices_that_torch_sees(self, device):
        assert AttributeInferenceEvaluator().settings.device == str(device)


class TestProtocols:
    @pytest.mark.parametrize("name", PRESETS)
    def test_a_protocol_names_its_attackers_folds_and_repeats(self, name):
        settings = AttributeInferenceEvaluator(protocol=name).settings
        given = (settings.attackers, settings.attack_folds, settings.attack_repeats, settings.attack_balance)
        assert given == PRESETS[name]
        assert set(settings.attackers) <= set(registered_attackers())

    def test_keys_that_are_given_win_over_the_protocol_wherever_they_come_from(self):
        config = RecBoleLikeConfig(protocol="raid", attack_repeats=1)
        settings = AttributeInferenceEvaluator(config, attackers="mlp").settings
        assert (settings.attackers, settings.attack_folds, settings.attack_repeats) == (("mlp",), 5, 1)

    def test_the_published_ones_repeat_as_often_as_published(self):
        assert {name: preset[1:] for name, preset in PRESETS.items()} == {
            "default": (5, 2, "none"),
            "raid": (5, 3, "undersample"),
            "attrcloak": (5, 5, "none"),
            "oktton": (5, 3, "none"),
            "strict": (5, 2, "none"),
            "informed": (5, 2, "none"),
        }

    def test_the_strict_one_has_every_kind_of_attacker_of_ours(self):
        published = {name for preset in ("raid", "attrcloak", "oktton") for name in PRESETS[preset].attackers}
        ours = set(registered_attackers()) - published
        untuned = {name.removesuffix("_tuned") for name in ours if name.endswith("_tuned")}
        of_a_defense = {"adversary"}  # finds less than the tuned network, and takes long
        assert set(PRESETS["strict"].attackers) == ours - untuned - of_a_defense
