import pytest

from recbole_aia.report.published import PAPERS, Published, below_chance, numbers


@pytest.mark.parametrize("paper", PAPERS)
def test_every_number_has_a_place_and_a_subject(paper):
    rows = numbers(paper)
    for row in rows:
        assert row["table"]
        assert float(row["value"]) >= 0
    places = [tuple(value for key, value in row.items() if key != "value") for row in rows]
    assert len(set(places)) == len(places)


def test_a_printed_number_is_found_by_what_it_is_about():
    raid = Published("raid", "ml-1m", "NeuMF", "RAID")
    assert raid.value("2", "F1", "gender", "MLP") == "0.2665"
    assert raid.value("3", "HR@10", "age") == "0.1010"
    assert (
        Published("attrcloak", "ml-100k", "LightGCN", "U2U-R").value("VII", "accuracy", "gender", "XGBoost") == "0.9151"
    )


def test_a_method_that_a_paper_lacks_has_a_dash():
    assert Published("raid", "ml-1m", "NeuMF", "").value("2", "F1", "gender", "MLP") == "-"


def test_raids_own_tables_have_attackers_below_chance():
    found = {(row["table"], row["attribute"], row["attacker"]): row["value"] for row, _ in below_chance()}
    assert found["6", "age", "SVM"] == "0.2277"
    assert found["6", "gender", "SVM"] == "0.4096"
    assert all(float(row["value"]) < chance - 0.03 for row, chance in below_chance())
