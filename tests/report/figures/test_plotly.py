import json

from pages import HOSTILE, full, hostile, varied

from recbole_aia.report.figures import Figure, Panel, Series, figures
from recbole_aia.report.figures.comparison import comparison_figures
from recbole_aia.report.figures.plotly import drawing


def test_every_figure_can_be_drawn():
    for figure in [*figures(full()), *comparison_figures(*varied())]:
        drawn = drawing(figure)
        json.dumps(drawn, allow_nan=False)
        assert drawn["name"] == figure.name
        assert len(drawn["data"]) == sum(len(panel.series) for panel in figure.panels)


def test_names_are_text_and_no_html():
    for figure in figures(hostile()):
        assert HOSTILE not in json.dumps(drawing(figure))
        assert "<script" not in json.dumps(drawing(figure)).replace("<br>", " ")


def test_series_of_one_name_are_one_entry_of_the_legend():
    panels = [Panel("x", "y", [Series("a", [1], [2])]), Panel("x", "y", [Series("a", [1], [2]), Series("b", [1], [2])])]
    shown = [trace["showlegend"] for trace in drawing(Figure("f", "", "", panels))["data"]]
    assert shown == [True, False, True]


def test_intervals_go_from_the_point_to_its_ends():
    panel = Panel("x", "y", [Series("a", [0.5], [2], x_ends=[(0.25, 1.0)])])
    (trace,) = drawing(Figure("f", "", "", [panel]))["data"]
    assert (trace["error_x"]["array"], trace["error_x"]["arrayminus"]) == ([0.5], [0.25])


def test_texts_are_places_in_a_row_even_if_they_are_numbers():
    panel = Panel("eta", "y", [Series("a", ["0.1", "10"], [1, 2])])
    layout = drawing(Figure("f", "", "", [panel]))["layout"]
    assert (layout["xaxis"].get("type"), layout["yaxis"].get("type")) == ("category", None)
