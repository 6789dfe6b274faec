import pytest

from recbole_aia.report.published import PAPERS, below_chance, numbers, published


@pytest.mark.parametrize("paper", PAPERS)
def test_every_number_has_a_place_and_a_subject(paper):
    rows = numbers(paper)
    for row in rows:
        assert row["table"]
        assert float(row["value"]) >= 0
    places = [tuple(value for key, value in row.items() if key != "value") for row in rows]
    assert len(set(places)) == len(places)


def test_a_printed_number_is_found_by_what_it_is_about():
    raid = {"dataset": "ml-1m", "model": "NeuMF", "method": "RAID"}
    assert published("raid", **raid, table="2", metric="F1", attribute="gender", attacker="MLP") == "0.2665"
    assert published("raid", **raid, table="3", metric="HR@10", attribute="age") == "0.1010"
    cloak = {"dataset": "ml-100k", "model": "LightGCN", "method": "U2U-R", "attribute": "gender"}
    assert published("attrcloak", **cloak, table="VII", metric="accuracy", attacker="XGBoost") == "0.9151"


@pytest.mark.parametrize("about", [{"method": ""}, {"method": "RAID"}, {"method": "RAID", "colour": "red"}])
def test_a_number_that_a_paper_lacks_or_has_twice_is_a_dash(about):
    assert published("raid", table="2", metric="F1", attribute="gender", **about) == "-"


def test_raids_own_tables_have_attackers_below_chance():
    found = {(row["table"], row["attribute"], row["attacker"]): row["value"] for row, _ in below_chance()}
    assert found["6", "age", "SVM"] == "0.2277"
    assert found["6", "gender", "SVM"] == "0.4096"
    assert all(float(row["value"]) < chance - 0.03 for row, chance in below_chance())
