import pytest
from pages import varied

from recbole_aia.config.grid import Grid
from recbole_aia.report.figures.comparison import comparison_figures


def test_the_plane_has_a_point_for_each_method_with_its_interval_over_seeds():
    plane = comparison_figures(*varied())[0]
    (panel,) = plane.panels
    *methods, front = panel.series
    assert [series.name for series in methods][:2] == ["none", "raid raid_eta=0.5"]
    assert methods[1].x == [pytest.approx(0.3045)]
    low, high = methods[1].x_ends[0]
    assert low < 0.303 < 0.306 < high
    assert front.x == [pytest.approx(0.1015)]


def test_a_varied_key_has_its_curves_in_the_grids_order():
    _, figure = comparison_figures(*varied())
    leaks, kept = figure.panels
    (curve,) = leaks.series
    assert (curve.name, curve.x) == ("raid, gender", ["0.5", "1.0", "10.0"])
    assert curve.y == pytest.approx([0.3045, 0.203, 0.1015])
    assert [series.name for series in kept.series] == ["raid, kept"]
    assert kept.series[0].y == pytest.approx([0.955, 0.97, 0.985])
    assert leaks.x == "raid_eta"


def test_without_a_varied_key_there_is_the_plane_alone():
    grid, runs = varied()
    plain = Grid.of({"models": ["BPR"], "methods": ["none", "raid"]}, "test")
    assert [figure.name for figure in comparison_figures(plain, runs)] == ["plane-1"]
    # A single value that did not fail is no curve.
    one = [run for run in runs if run.cell.method in ("none", "raid raid_eta=0.5")]
    assert [figure.name for figure in comparison_figures(grid, one)] == ["plane-1"]
