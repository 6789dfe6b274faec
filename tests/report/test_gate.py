import json
from xml.etree import ElementTree

import pytest

from recbole_aia.report.gate import cases, junit, sarif


def row(attacker, gain, view="served"):
    return {
        "attribute": "g<1>", "attacker": attacker, "view": view, "leak_ratio": 0.8,
        "metrics": {"advantage": {"mean": gain}},
    }  # fmt: skip


RESULTS = {
    "attacks": [row("svm", 0.2), row("knn", 0.1), row("svm", 0.9, "profile")],
    "informed": {"attributes": {"g<1>": {"beyond_old": 0.3}, "age\x00": {"activity": {"beyond": 0.05}}}},
    "audit": {"path": "users.npz"},
}


def test_each_attack_and_what_is_added_is_a_case_and_references_are_none():
    found = {case.what: case.passes for case in cases(RESULTS, 0.1)}
    assert found == {
        "svm on served, 0.8 known": False,
        "knn on served, 0.8 known": True,
        "beyond the old vectors": False,
        "beyond activity": True,
    }


def test_junit_counts_and_names_what_failed():
    suite = ElementTree.fromstring(junit(RESULTS, 0.1))
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["svm on served, 0.8 known", "beyond the old vectors"]
    assert {case.get("classname") for case in suite} == {"g<1>", "age?"}


def test_sarif_has_a_result_for_each_failure_at_the_file():
    run = json.loads(sarif(RESULTS, 0.1))["runs"][0]
    assert [found["message"]["text"] for found in run["results"]] == [
        "g<1> 0.200 (svm on served, 0.8 known) is above 0.1",
        "g<1> 0.300 (beyond the old vectors) is above 0.1",
    ]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "users.npz"}
    assert {found["ruleId"] for found in run["results"]} == {run["tool"]["driver"]["rules"][0]["id"]}


@pytest.mark.parametrize("limit", [0.35, 1.0])
def test_nothing_fails_at_a_high_limit(limit):
    assert ElementTree.fromstring(junit(RESULTS, limit)).get("failures") == "0"
    assert json.loads(sarif(RESULTS, limit))["runs"][0]["results"] == []
