import numpy as np
import pytest

from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator

SETTINGS = {"attackers": ["logistic", "naive_bayes"], "attack_repeats": 2, "attack_permutations": 20, "attack_jobs": 1}


@pytest.fixture(scope="module")
def report():
    """400 users; a plain leak undefended, none defended; ``b`` is untouched."""
    rng = np.random.default_rng(0)
    labels = {"a": rng.integers(0, 2, 400), "b": rng.integers(0, 2, 400)}
    noise = rng.normal(size=(400, 8))
    leaking = noise.copy()
    leaking[:, 0] += 2 * labels["a"]
    evaluator = AttributeInferenceEvaluator(SETTINGS, show_progress=False)
    return AttackReport.concat(
        evaluator.evaluate(points, labels, state=state)
        for state, points in {"undefended": leaking, "defended": noise}.items()
    )


class TestComparisons:
    def test_every_attacker_of_both_states_is_compared(self, report):
        assert [(line["attribute"], line["attacker"]) for line in report.comparisons()] == [
            (attribute, attacker) for attribute in "ab" for attacker in SETTINGS["attackers"]
        ]

    def test_the_difference_is_that_of_the_table(self, report):
        for line in report.comparisons():
            before, after = (
                next(
                    row["metrics"]["advantage"]["mean"]
                    for row in report.where(state=state, attribute=line["attribute"]).rows
                    if row["attacker"] == line["attacker"]
                )
                for state in ("undefended", "defended")
            )
            assert line["difference"]["mean"] == pytest.approx(after - before, abs=1e-12)

    def test_what_the_defense_took_is_significant_and_what_it_left_is_not(self, report):
        for line in report.comparisons():
            if line["attribute"] == "a":
                assert line["difference"]["ci95"][1] < -0.4
                assert line["p_holm"] < 0.001
            else:
                assert line["p_value"] > 0.01
            assert line["p_holm"] >= line["p_value"]

    def test_the_correction_is_over_views_too(self, report):
        other = AttackReport([{**row, "view": "table"} for row in report.rows], report.evidence)
        alone = {(line["attribute"], line["attacker"]): line["p_holm"] for line in report.comparisons()}
        for line in (report + other).comparisons():
            assert line["p_holm"] >= alone[line["attribute"], line["attacker"]]
        largest = max((report + other).comparisons(), key=lambda line: line["p_holm"])
        assert largest["p_holm"] > alone[largest["attribute"], largest["attacker"]] or largest["p_holm"] == 1

    def test_one_state_alone_has_nothing_to_compare(self, report):
        assert report.where(state="defended").comparisons() == []

    def test_rows_read_from_a_file_have_no_evidence(self, report):
        assert AttackReport(report.rows).comparisons() == []
