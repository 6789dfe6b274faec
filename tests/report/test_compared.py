import json
from dataclasses import replace
from itertools import product

import pytest

from recbole_aia.config.grid import Cell, Grid
from recbole_aia.config.recipes import recipe, recipes
from recbole_aia.errors import ConfigValueError
from recbole_aia.report.compared import Compared, Line, lines, tidy
from recbole_aia.report.compared import tests as paired_tests
from recbole_aia.report.comparison_tables import _published, latex, markdown
from recbole_aia.report.measures import measure
from recbole_aia.report.page.comparison import comparison_page
from recbole_aia.report.seeds import interval

GRID = Grid.of(
    {
        "models": ["NeuMF"],
        "datasets": ["ml-1m"],
        "methods": {
            "undefended": {"defense": "none", "published": "Original"},
            "RAID_1": {"defense": "raid", "published": "RAID"},
            "worse | <b>": {"defense": "noise"},
        },
        "seeds": [1, 2, 3],
        "paper": "raid",
        "measures": [
            {
                "name": "F1", "attacker": "mlp", "metric": "f1_binary", "otherwise": "f1_micro",
                "published": {"table": "2", "attacker": "MLP", "metric": "F1"},
            },
            {"worst_case": True},
            {"kept": "ndcg@10"},
        ],
    },
    "test",
)  # fmt: skip
FOUND = {"undefended": (0.7, 0.5, 0.1), "RAID_1": (0.2, 0.1, 0.09), "worse | <b>": (0.6, 0.4, 0.05)}


def run(method, seed):
    f1, worst, ndcg = (value + seed * 1e-3 for value in FOUND[method])
    state = "undefended" if method == "undefended" else "defended"
    row = {
        "state": state, "view": "served", "attribute": "gender", "attacker": "mlp", "leak_ratio": 0.8,
        "metrics": {"f1_micro": {"mean": f1, "ci95": [0, 1]}},
    }  # fmt: skip
    results = {
        "run": {"attributes": ["gender"], "seconds": {f"train_{state}": 2.0}},
        "attacks": [row],
        "utility": {"undefended": {"ndcg@10": 0.1 + seed * 1e-3}, state: {"ndcg@10": ndcg}},
        "further_attacks": {"paper": [{**row, "attacker": "svm_raid"}]},
        "informed": {"attributes": {"gender": {"beyond_old": 0.03, "floor": 0.1}}},
        "worst_case": {"gender": {state: {"attacker": "mlp", "view": "served", "advantage": worst, "floor": 0.05}}},
    }
    return Compared(Cell("NeuMF", "ml-1m", method, seed, ("gender",), {}), results)


RUNS = [run(method, seed) for method in FOUND for seed in (1, 2, 3)]


def test_an_interval_is_students_over_seeds():
    assert interval([0.1, 0.2, 0.3]) == "0.200 ± 0.248"
    assert interval([0.1]) == "0.100"
    assert interval([]) == "-"


def test_a_line_has_every_seed_of_a_method():
    table = lines(GRID, RUNS)
    assert [line.method for line in table] == list(FOUND)
    assert table[1].seeds("F1") == pytest.approx([0.201, 0.202, 0.203])
    assert table[1].beside["worst case (floor)"] == pytest.approx(0.05)


def test_the_best_defended_line_is_bold_and_published_numbers_stand_beside():
    text = markdown(GRID, lines(GRID, RUNS))
    raid = next(line for line in text.splitlines() if "RAID_1" in line)
    assert "| 0.202 ± 0.002 (0.2665) |" in raid  # F1 below chance is no better than F1 at chance
    assert "**0.102 ± 0.002 (0.050)**" in raid
    undefended = next(line for line in text.splitlines() if "undefended" in line)
    assert "0.702 ± 0.002 (0.7545)" in undefended
    assert "**" not in undefended


def test_a_paper_without_the_data_set_lends_another_ones_number():
    values = {"paper": "raid", "models": ["NeuMF"], "methods": {"RAID_1": {"published": "RAID"}}}
    printed = {"table": "2", "attacker": "MLP", "metric": "F1", "dataset": "ml-1m"}
    measures = [{"attacker": "mlp", "metric": "f1_micro", "published": printed}]
    grid = Grid.of({**values, "measures": measures}, "test")
    runs = [replace(each, cell=replace(each.cell, dataset="ml-100k")) for each in RUNS if each.cell.method == "RAID_1"]
    assert "(0.2665, ml-1m)" in markdown(grid, lines(grid, runs))
    assert "(0.2665)" in markdown(grid, lines(grid, [each for each in RUNS if each.cell.method == "RAID_1"]))


def test_an_attribute_protected_alone_and_with_another_has_two_blocks():
    def alone_and_together(each):
        both = {**each.results, "run": {**each.results["run"], "attributes": ["gender", "age"]}}
        return each, Compared(replace(each.cell, attributes=("gender", "age")), both)

    runs = [run for each in RUNS for run in alone_and_together(each)]
    table = lines(GRID, runs)
    assert [line.protected for line in table] == [("gender",)] * 3 + [("gender", "age")] * 3
    assert all(len(line.seeds("F1")) == 3 for line in table)
    text = markdown(GRID, table)
    assert "| gender (gender protected) |" in text
    assert "| gender (gender and age protected) |" in text
    assert set(paired_tests(GRID, table).attribute) == {
        "gender (gender protected)",
        "gender (gender and age protected)",
    }


def test_a_table_of_recommendation_alone_has_a_line_for_all_attributes():
    grid = replace(GRID, measures=[{"kept": "ndcg@10"}, {"seconds": True}])
    case = RUNS[0].results["worst_case"]["gender"]["undefended"]
    worst = {name: {"undefended": case, "defended": case} for name in ("gender", "age")}
    runs = []
    for each in RUNS:
        about = {**each.results["run"], "attributes": list(worst)}
        cell = replace(each.cell, attributes=tuple(worst))
        runs.append(Compared(cell, {**each.results, "run": about, "worst_case": worst}))
    table = lines(grid, runs)
    assert [(line.attribute, line.method) for line in table] == [("gender, age", name) for name in FOUND]
    assert [len(line.seeds("NDCG@10 kept")) for line in table] == [3, 3, 3]
    page = comparison_page(grid, runs, [])
    assert all(f"NeuMF on ml-1m, {name}: at or below the floor" in page for name in worst)


@pytest.mark.parametrize("name", recipes())
def test_every_printed_measure_of_a_recipe_has_a_number(name):
    grid = Grid.read(recipe(name))
    for given in grid.measures:
        if "published" in given:
            found = {
                _published(grid, given["published"], Line(dataset, model, attribute, together, method, {}, {}))
                for dataset, model, together, method in product(
                    grid.datasets, grid.models, grid.attributes, grid.lines()
                )
                for attribute in together
            }
            assert found - {"-"}, given


class TestMeasures:
    RESULTS = {
        "utility": {"undefended": {}, "defended": {}},
        "attacks": [],
        "further_attacks": {
            "paper": [
                {
                    "state": "defended", "view": "served", "attribute": "gender", "attacker": "mlp",
                    "leak_ratio": ratio,
                    "metrics": {"auc": {"mean": ratio + 0.1}},
                }
                for ratio in (0.2, 0.8)
            ]
        },
        "informed": {"attributes": {"gender": {"beyond_old": 0.3, "floor": 0.1}}},
    }  # fmt: skip

    def test_further_attacks_are_found_at_each_share_of_known_labels(self):
        for ratio in (0.2, 0.8):
            found = measure({"attack": "paper", "attacker": "mlp", "metric": "auc", "leak_ratio": ratio})
            assert found.value(self.RESULTS, "gender") == pytest.approx(ratio + 0.1)
        assert measure({"attacker": "mlp", "metric": "auc"}).value(self.RESULTS, "gender") is None
        with pytest.raises(ConfigValueError, match="has no 'metric'"):
            measure({"attacker": "mlp"})

    def test_what_two_releases_add_has_its_floor(self):
        found = measure({"beyond_old": True})
        assert (found.value(self.RESULTS, "gender"), found.beside(self.RESULTS, "gender")) == (0.3, 0.1)
        assert found.value({"utility": {}}, "gender") is None


def test_names_break_neither_markdown_nor_latex():
    table = lines(GRID, RUNS)
    widths = {line.replace("\\|", "").count("|") for line in markdown(GRID, table).splitlines()}
    assert len(widths) == 1
    assert "&lt;b>" in markdown(GRID, table)
    assert r"RAID\_1" in latex(GRID, table)
    assert latex(GRID, table).count(r"\toprule") == 1


def test_differences_are_tested_against_the_best_and_adjusted():
    found = paired_tests(GRID, lines(GRID, RUNS))
    worst = found[found.measure == "worst case (floor)"].set_index("method")
    assert set(worst.best) == {"RAID_1"}
    assert worst.loc["worse | <b>", "difference"] == pytest.approx(0.3)
    assert (worst.p_holm >= worst.p).all()


def test_all_numbers_are_tidy():
    frame = tidy(RUNS)
    assert set(frame.metric) >= {
        "f1_micro",
        "worst_case_advantage",
        "worst_case_floor",
        "ndcg@10",
        "seconds_train_defended",
    }
    own = frame[(frame.method == "RAID_1") & (frame.metric == "f1_micro")]
    assert sorted(own.attack) == [""] * 3 + ["paper"] * 3
    assert (frame[frame.attack == "informed"].groupby("metric").size() == 9).all()
    assert not frame.drop(columns=["low", "high", "leak_ratio"]).isna().any().any()


class TestPage:
    def test_it_says_who_is_at_the_floor_and_what_that_keeps(self):
        runs = [run(method, seed) for method in FOUND for seed in (1, 2, 3)]
        for each in runs:
            if each.cell.method == "RAID_1":
                each.results["worst_case"]["gender"]["defended"]["advantage"] = 0.05
        html = comparison_page(GRID, runs, [(runs[0].cell, "it is <b>wrong</b>")])
        assert "NeuMF on ml-1m, gender: at or below the floor in every seed: RAID_1 (" in html
        assert "it is &lt;b&gt;wrong" in html
        assert "<b>" not in html.split("<script>")[0]
        assert len(html.encode()) < 5_000_000

    def test_the_front_joins_what_nothing_beats_in_both(self):
        html = comparison_page(GRID, RUNS, [])
        drawn = json.loads(html.split("var drawn = ")[1].split(";\n")[0])
        (plane,) = drawn
        names = [trace["name"] for trace in plane["data"]]
        assert names == ["undefended", "RAID_1", "worse | &lt;b&gt;", "front"]  # Plotly reads some HTML
        front = plane["data"][-1]
        assert front["x"] == sorted(front["x"])
        assert front["y"] == sorted(front["y"])
        assert len(front["x"]) == 2
