from recbole_aia.report.figures import Figure, Panel, Series


def test_a_table_has_the_numbers_of_the_figure():
    panel = Panel("users (%)", "advantage", [Series("gender", [20, 80], [0.25, 0.123456])])
    assert Figure("known", "", "", [panel]).table() == (
        ["series", "users (%)", "advantage"],
        [["gender", "20", "0.25"], ["gender", "80", "0.1235"]],
    )


def test_of_a_long_curve_it_has_some():
    panel = Panel("x", "y", [Series("long", list(range(65)), list(range(65)), "line")])
    _, rows = Figure("long", "", "", [panel]).table()
    assert [row[1] for row in rows] == [str(x) for x in range(0, 65, 6)]


def test_of_several_panels_it_says_which():
    panels = [Panel("epoch", "NDCG", [Series("a", [1], [2])], "Validation"), Panel("epoch", "loss", [])]
    assert Figure("two", "", "", panels).table() == (["panel", "series", "x", "y"], [["Validation", "a", "1", "2"]])
