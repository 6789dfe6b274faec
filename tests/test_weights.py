import pytest

from benchmarks.weights import draw, summary, table


def result(kept, **accuracy):
    attacks = [
        {
            "view": "served",
            "state": state,
            "attribute": name,
            "metrics": {"balanced_accuracy": {"mean": value + (state == "undefended")}},
        }
        for name, value in accuracy.items()
        for state in ("undefended", "defended")
    ]
    return {"utility": {"undefended": {"ndcg@10": 0.1}, "defended": {"ndcg@10": 0.1 * kept}}, "attacks": attacks}


def test_a_line_is_the_mean_over_seeds_of_the_defended_state():
    line = summary([result(0.9, gender=0.5, age=0.2), result(1.0, gender=0.6, age=0.3)])
    assert line == pytest.approx({"NDCG@10 kept": 0.95, "gender": 0.55, "age": 0.25})
    assert table({"dynamic": line}).splitlines()[-1] == "| dynamic | 0.950 | 0.550 | 0.250 |"


def test_the_figure_has_a_point_for_each_weight_and_is_the_same_twice(tmp_path):
    pytest.importorskip("matplotlib")
    lines = {"dynamic": {"NDCG@10 kept": 0.98, "gender": 0.5}, "0.1": {"NDCG@10 kept": 1.0, "gender": 0.6}}
    for name in ("one.svg", "two.svg"):
        draw(lines, tmp_path / "figures" / name)
    one, two = ((tmp_path / "figures" / name).read_text() for name in ("one.svg", "two.svg"))
    assert one == two
    assert "dynamic" in one
    assert "gender" in one
