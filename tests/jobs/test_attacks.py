"""Further attacks beside the main one, and what is kept of attacks on the undefended twin."""

import json

import pytest
from runs import FAST

from recbole_aia import AIAConfig, run_recbole_aia
from recbole_aia.errors import ConfigValueError
from recbole_aia.jobs.attacks import further_evaluators


def _config(further):
    return AIAConfig("BPR", "ml-100k", config_dict={"further_attacks": further}, argv=[])


def test_a_further_attack_has_its_protocols_values_and_not_the_main_ones():
    config = AIAConfig(
        "BPR", "ml-100k",
        config_dict={"attackers": ["knn"], "attack_repeats": 1, "further_attacks": {"paper": {"protocol": "raid"}}},
        argv=["--seed=7"],
    )  # fmt: skip
    settings = further_evaluators(config)["paper"].settings
    assert settings.attack_balance == "undersample"
    assert settings.attack_repeats == 3
    assert "knn" not in settings.attackers
    assert settings.seed == 7


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"attackers": ["nobody"]}, "nobody"), ({"protocol": "x"}, "protocol"), ({"folds": 5}, "folds")],
)
def test_a_mistake_in_a_further_attack_names_it(settings, said):
    with pytest.raises(ConfigValueError, match=rf"further_attacks\.paper: .*{said}"):
        further_evaluators(_config({"paper": settings}))


class TestRuns:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """Makes a run of BPR in this folder; the twin is shared."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["pytest"])

        def made(**values):
            return run_recbole_aia(
                "BPR",
                "ml-100k",
                config_dict={**FAST, "attributes": ["gender"], "attack_views": ["served"], **values},
                argv=[],
            )["aia"]

        return made

    def test_further_attacks_see_both_states_and_count_in_no_worst_case(self, run, tmp_path):
        further = {"fresh": {"attackers": ["naive_bayes"], "attack_folds": 2, "attack_repeats": 1}}
        results = run(defense="noise", output_dir="out", further_attacks=further)
        rows = results["further_attacks"]["fresh"]
        assert [(row["state"], row["view"], row["attacker"]) for row in rows] == [
            ("undefended", "served", "naive_bayes"), ("defended", "served", "naive_bayes"),
        ]  # fmt: skip
        assert {row["attacker"] for row in results["attacks"]} == {"logistic"}
        assert results["worst_case"]["gender"]["undefended"]["attacker"] == "logistic"
        assert json.loads((tmp_path / "out" / "results.json").read_text())["further_attacks"]["fresh"] == rows

    def test_a_twin_is_attacked_once_and_counts_the_same(self, run, tmp_path, monkeypatch):
        first = run(defense="noise")
        fits = list(tmp_path.glob("saved/*.attacks/*"))
        again = run(defense="noise", noise_scale=2.0)
        assert fits
        assert list(tmp_path.glob("saved/*.attacks/*")) == fits
        monkeypatch.setattr("recbole_aia.evaluator.fits._attack", None)
        run(defense="none")  # all its fits are there
        rows = [[row for row in each["attacks"] if row["state"] == "undefended"] for each in (first, again)]
        assert rows[0] == rows[1]

    @pytest.mark.parametrize("key", [{"no_labels_out": True}, {"reuse_undefended": False}])
    def test_nothing_is_kept_where_nothing_may_be(self, run, tmp_path, key):
        run(defense="none", **key)
        assert not list((tmp_path / "saved").glob("*.attacks"))
