import pytest

from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator


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
            assert settings.n_jobs >= 1

    def test_overrides_win_over_the_configuration_and_foreign_keys_are_ignored(self):
        config = RecBoleLikeConfig(attack_folds=4, attack_repeats=2, attackers="mlp", learning_rate=1)
        settings = AttributeInferenceEvaluator(config, attack_folds=3).settings
        assert (settings.attack_folds, settings.attack_repeats, settings.attackers) == (3, 2, ("mlp",))

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ({"attackers": ["mlp_riad"]}, "unknown attacker 'mlp_riad'. Did you mean mlp_raid"),
            ({"attackers": []}, r"attackers is \[\]"),
            ({"attackers": ["mlp", "mlp"]}, "each once"),
            ({"attackers": 3}, "unknown attacker 3"),
            ({"attack_folds": 1}, "attack_folds is 1. It must be a whole number >= 2"),
            ({"attack_folds": 2.0}, "attack_folds is 2.0"),
            ({"attack_repeats": True}, "attack_repeats is True"),
            ({"attack_permutations": 19}, "attack_permutations is 19. It must be a whole number >= 20"),
            ({"attack_jobs": 0}, "attack_jobs is 0.*null"),
            ({"seed": -1}, "seed is -1"),
            ({"show_progress": "yes"}, "show_progress is 'yes'"),
            ({"attack_fold": 5}, "unknown attack setting 'attack_fold'. Did you mean attack_folds"),
        ],
    )
    def test_a_wrong_value_is_refused_with_what_is_allowed(self, override, message):
        with pytest.raises(ConfigValueError, match=message):
            AttributeInferenceEvaluator(**override)
