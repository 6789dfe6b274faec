from pages import epoch, full

from recbole_aia.report.figures.training import training


def test_validation_and_losses_stand_above_each_other_with_phases_and_refreshes_marked():
    (figure,) = training(full())
    validation, losses = figure.panels
    assert [(series.name, series.x) for series in validation.series] == [("undefended", [2, 4]), ("defended", [2, 4])]
    assert [(series.name, series.x) for series in losses.series] == [
        ("rec, undefended", [1, 2, 3, 4, 5]),
        ("rec, defended", [1, 2, 3, 4, 5]),
        ("raid gender, defended", [3, 4, 5]),
    ]
    assert validation.marks == [(2.5, "phase 2"), (4.5, "")]
    assert [place for place, _ in losses.marks] == [2.5, 4.5]


def test_without_validation_there_are_losses_alone():
    (figure,) = training({"curves": {"metric": "mrr@10", "states": {"undefended": [epoch(0), epoch(2)]}}})
    assert [panel.title for panel in figure.panels] == ["Losses"]
    assert "Dotted" not in figure.text


def test_a_twin_that_recorded_nothing_leaves_the_defended_training():
    found = full()
    del found["curves"]["states"]["undefended"]
    assert [series.name for series in training(found)[0].panels[0].series] == ["defended"]


def test_nothing_known_is_no_figure():
    assert training({}) == []
