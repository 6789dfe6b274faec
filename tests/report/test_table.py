import pytest

from recbole_aia.report import attack_table, verdict


def attack(state="undefended", view="served", attacker="mlp", leak_ratio=0.8, gain=0.5):
    estimate = {"mean": gain, "ci95": [gain - 0.1, gain + 0.1]}
    keys = {"state": state, "view": view, "attribute": "gender", "attacker": attacker, "leak_ratio": leak_ratio}
    metrics = {"advantage": estimate, "auc": estimate, "balanced_accuracy": estimate}
    return {**keys, "metrics": metrics, "floor": {"permuted_advantage95": 0.1}}


def comparison(difference, p_holm):
    return {"attribute": "gender", "difference": {"mean": difference}, "p_holm": p_holm}


def rows(table):
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("  ") if cell.strip()] for line in lines]


def test_leak_ratios_have_a_row_each_and_a_column_where_there_are_several():
    attacks = [attack(leak_ratio=ratio, gain=ratio / 2) for ratio in (0.2, 0.8)]
    first, second = rows(attack_table({"attacks": attacks}))[-2:]
    assert first[:5] == ["gender", "20%", "mlp", "0.100", "0.100 [0.000, 0.200]"]
    assert second[:5] == ["gender", "80%", "mlp", "0.100", "0.400 [0.300, 0.500]"]
    assert "80%" not in attack_table({"attacks": attacks[1:]})


def test_rows_of_a_view_stand_together_and_states_side_by_side():
    attacks = [
        attack(state, view, attacker)
        for state in ("undefended", "defended")
        for view in ("served", "top_k")
        for attacker in ("mlp", "knn")
    ]
    found = [row[1:3] for row in rows(attack_table({"attacks": attacks}))[-4:]]
    assert found == [["served", "mlp"], ["served", "knn"], ["top_k", "mlp"], ["top_k", "knn"]]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ""),
        ([comparison(-0.3, 0.01), comparison(-0.3, 0.2), comparison(0.3, 0.01)], "; 1 of 3 attacks gain less"),
    ],
)
def test_the_verdict_counts_the_attacks_that_gain_significantly_less(lines, expected):
    worst = {"gender": {"undefended": {"attacker": "mlp", "view": "served", "advantage": 0.5, "floor": 0.125}}}
    said = verdict({"attacks": [attack()], "worst_case": worst, "comparisons": lines})
    assert said.startswith("worst case for gender: undefended 0.500 (mlp, floor 0.125)")
    assert expected in said
    assert ("gain less" in said) == bool(lines)
