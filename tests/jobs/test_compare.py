import json

import pytest

from recbole_aia.cli import main

GRID = """\
title: Tiny
models: [BPR]
attributes: [[gender]]
seeds: [1]
settings:
  {epochs: 1, embedding_size: 8, attackers: [logistic], attack_repeats: 1, attack_views: [served],
   attack_permutations: 20, train_batch_size: 8192}
methods:
  undefended: {defense: none}
  noise: {defense: noise}
  wrong: {defense: noise, noise_scale: -1}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tiny.yaml").write_text(GRID, encoding="utf-8")
    return tmp_path


def test_a_grid_is_run_once_and_a_failed_run_does_not_stop_it(place, capsys, monkeypatch):
    assert main(["compare", "tiny.yaml", "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 runs made, 0 found, 1 failed" in said
    assert "noise_scale is -1" in said
    files = {
        name: (place / "compare" / "tiny" / name).read_bytes() for name in ("table.md", "numbers.csv", "tests.csv")
    }
    assert b"noise_scale is -1" in files["table.md"]
    kept = {run: (run / "results.json").stat().st_mtime_ns for run in (place / "runs").iterdir()}
    assert len(kept) == 2
    assert len(list((place / "saved").glob("undefended-*.pth"))) == 1

    assert main(["compare", "tiny.yaml", "--figures", "figures", "--formats", "svg"]) == 0
    assert [file.name for file in (place / "figures").iterdir()] == ["plane-1.svg"]
    assert "0 runs made, 2 found, 1 failed" in capsys.readouterr().out
    assert {run: (run / "results.json").stat().st_mtime_ns for run in kept} == kept
    assert {name: (place / "compare" / "tiny" / name).read_bytes() for name in files} == files

    # A run of another version is made again, and only that.
    changed = sorted(kept)[0]
    results = json.loads((changed / "results.json").read_text(encoding="utf-8"))
    results["run"]["versions"]["torch"] = "0.0"
    (changed / "results.json").write_text(json.dumps(results), encoding="utf-8")
    made = []
    monkeypatch.setattr("recbole_aia.jobs.compare.run_local", lambda tasks, jobs, done: made.extend(tasks))
    assert main(["compare", "tiny.yaml"]) == 0
    assert [task.name for task in made] == [changed.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a grid's file"),
        (["tiny.yaml", "--recipe", "raid-table2"], "one of them"),
        (["tiny.yaml", "--jobs", "0"], "--jobs is 0"),
        (["tiny.yaml", "--figures", "f", "--formats", "gif"], "--formats is gif"),
        (["tiny.yaml", "--methods", "nois"], "no method 'nois'. Did you mean noise"),
        (["absent.yaml"], "absent.yaml"),
        (["--defenses", "raid"], "names no models"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(place, capsys, arguments, message):
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (place / "compare").exists()


def test_recipes_are_listed(capsys):
    assert main(["compare", "--list-recipes"]) == 0
    assert "raid-table2: " in capsys.readouterr().out
