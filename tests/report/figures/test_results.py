import pytest
from pages import audited, full, results

from recbole_aia.report.figures import figures


def named(found):
    return {figure.name: figure for figure in figures(found)}


def test_a_run_has_a_figure_for_all_that_it_knows():
    assert [*named(full())] == ["plane", "attackers-1", "densities-1", "known", "activity", "training"]
    assert [*named(results())] == ["plane", "attackers-1"]
    assert [*named(audited())] == ["attackers-1"]


def test_bars_are_of_attackers_that_know_most_users():
    (panel,) = named(full())["attackers-1"].panels
    assert [(series.name, series.x) for series in panel.series] == [("undefended", [0.5]), ("defended", [0.05])]
    assert panel.marks == [(0.1, "luck")]


def test_the_learning_curve_goes_by_the_share_of_known_users():
    (panel,) = named(full())["known"].panels
    assert [(series.name, series.x, series.y) for series in panel.series] == [
        ("gender, undefended", [20, 80], [0.3, 0.5]),
        ("gender, defended", [20, 80], [0.02, 0.05]),
    ]


def test_densities_have_a_panel_for_each_state_and_say_how_they_are_smoothed():
    figure = named(full())["densities-1"]
    assert [panel.title for panel in figure.panels] == ["undefended", "defended"]
    assert [series.name for series in figure.panels[0].series] == ["F (60 users)", "M (40 users)"]
    assert figure.panels[0].series[0].y == [0.1, 0.3, 0.2]
    assert "bandwidth 0.4 to 0.4" in figure.text


def test_small_groups_are_not_shown():
    (panel,) = named(full())["activity"].panels
    assert panel.series[0].x == ["5 to 9", "10 to 14"]


def test_the_plane_goes_from_before_to_after_with_the_intervals_of_the_worst_case():
    (panel,) = named(full())["plane"].panels
    line, before, after = panel.series
    assert (line.x, line.y) == ([0.5, 0.05], [0.1, 0.09])
    assert (before.dashed, after.dashed) == (True, False)
    assert before.x_ends == [(0, 1)]


@pytest.mark.parametrize("found", [full(), audited()])
def test_axes_have_titles_and_names_are_names_of_files(found):
    for figure in figures(found):
        assert figure.name.replace("-", "").isalnum()
        assert figure.text
        for panel in figure.panels:
            assert panel.x
            assert panel.y or panel.series[0].form == "bars"
