from recbole_aia.report import informed_verdict


def case(gain, auc, view="difference", attacker="logistic", floor=0.1):
    return {"view": view, "attacker": attacker, "advantage": gain, "auc": auc, "floor": floor}


OLD = {"old": case(0.48, 0.74, "old"), "component": case(0.9, 0.95, attacker="component 2"), "floor": 0.118}


def said(cases, notes=()):
    return informed_verdict({"informed": {"attributes": {"gender": cases}, "notes": [*notes]}}).splitlines()


def test_a_movement_that_writes_the_label_down_is_said_to_give_it_away():
    cases = {**OLD, "difference": case(1.0, 1.0), "beyond_old": 0.52, "verdict": "above"}
    first, second = said(cases)
    assert first == (
        "with the old vectors, gender: the movement gives it away, AUC 1.000 where the old vectors alone give 0.740 "
        "(+0.520, floor 0.118)"
    )
    assert second == ("  old alone 0.480 (logistic), difference 1.000 (logistic), without labels 0.900 (component 2)")


def test_one_that_adds_nothing_is_said_to_add_nothing():
    cases = {**OLD, "component": case(0.3, 0.6), "difference": case(0.47, 0.73), "beyond_old": -0.01}
    first, *_ = said({**cases, "old_and_new": case(0.4, 0.7, "old_and_new"), "verdict": "within"})
    assert first == (
        "with the old vectors, gender: nothing beyond them, 0.470 where they alone give 0.480 (-0.010, floor 0.118)"
    )


def test_what_activity_tells_alone_is_said_apart():
    judged = {"alone": case(0.25, 0.62), "beyond": 0.05, "beyond_floor": 0.11, "verdict": "within"}
    assert said({"activity": {**case(0.3, 0.65, "activity"), **judged}}, ["a note"]) == [
        "with the users' activity, gender: 0.300 (logistic), activity alone 0.250; beyond activity 0.050, within the "
        "floor 0.110",
        "note: a note",
    ]


def test_nothing_is_said_where_nobody_was_informed():
    assert informed_verdict({}) == ""
