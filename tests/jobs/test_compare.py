import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grids import TABLES

import recbole_aia
from recbole_aia.cli import main
from recbole_aia.config.grid import Grid
from recbole_aia.jobs.compare import compare


def test_a_failed_run_stops_no_other_and_twins_are_trained_once(compared):
    table = (compared / "compare" / "tiny" / "table.md").read_text(encoding="utf-8")
    assert "noise_scale is -1" in table
    assert len(list((compared / "runs").iterdir())) == 2
    assert len(list((compared / "saved").glob("undefended-*.pth"))) == 1


def test_what_is_there_is_not_made_again(compared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(shutil.copytree(compared, tmp_path / "copy"))
    place = Path.cwd()
    kept = {run: run.stat().st_mtime_ns for run in place.glob("runs/*/results.json")}
    assert main(["compare", "tiny.yaml"]) == 0
    assert "0 runs made, 2 found, 1 failed" in capsys.readouterr().out
    assert {run: run.stat().st_mtime_ns for run in kept} == kept
    assert _tables(place) == _tables(compared)

    # A run of another version, or of other data, is made again, and only that.
    changed = sorted(run.parent for run in kept)
    for run, part, key in zip(changed, ("run", "data"), ("versions", "sha256"), strict=True):
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        results[part][key] = {**results["run"]["versions"], "xgboost": "0.0"} if key == "versions" else "other"
        (run / "results.json").write_text(json.dumps(results), encoding="utf-8")
        made = []
        compare(
            Grid.read(Path("tiny.yaml")), place / "again", execute=lambda tasks, done, made=made: made.extend(tasks)
        )
        assert run.name in [task.name for task in made]
        assert len(made) == changed.index(run) + 1


def test_a_table_can_be_made_of_what_is_there(grid, capsys):
    assert main(["compare", "tiny.yaml", "--executor", "none"]) == 0
    assert "0 runs made, 0 found, 3 failed" in capsys.readouterr().out
    assert "not made yet" in (grid / "compare" / "tiny" / "table.md").read_text(encoding="utf-8")
    assert not (grid / "runs").exists()


def test_a_run_that_fails_on_the_way_is_told_by_its_line(grid, capsys):
    values = {"models": ["BPR"], "methods": {"late": {"defense": "noise", "init_checkpoint": "absent.pth"}}}
    done = compare(Grid.of({**values, "seeds": [1]}, "test"), Path("out"))
    assert done["failed"] == 1
    assert "absent.pth" in Path("out", "failed.csv").read_text(encoding="utf-8")


def test_figures_come_as_files_where_matplotlib_is(compared, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(shutil.copytree(compared, tmp_path / "copy"))
    assert main(["compare", "tiny.yaml", "--figures", "figures", "--formats", "svg"]) == 0
    assert [file.name for file in Path("figures").iterdir()] == ["plane-1.svg"]


def test_a_grid_killed_in_the_middle_goes_on_to_the_same_table(compared, grid, monkeypatch, capsys):
    code = "from recbole_aia.cli import main; raise SystemExit(main())"
    path = os.pathsep.join([str(Path(recbole_aia.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.Popen(
        [sys.executable, "-c", code, "compare", "tiny.yaml"], cwd=grid, env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list(grid.glob("runs/*/results.json")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    first = {run: run.stat().st_mtime_ns for run in grid.glob("runs/*/results.json")}
    assert len(first) == 1
    assert main(["compare", "tiny.yaml"]) == 0
    assert "1 runs made, 1 found, 1 failed" in capsys.readouterr().out
    assert {run: run.stat().st_mtime_ns for run in first} == first
    assert _tables(grid) == _tables(compared)


def _tables(place):
    return {name: (place / "compare" / "tiny" / name).read_bytes() for name in TABLES}


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
def test_a_wrong_command_is_refused_in_one_line(grid, capsys, arguments, message):
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (grid / "compare").exists()


def test_recipes_are_listed(capsys):
    assert main(["compare", "--list-recipes"]) == 0
    assert "raid-table2: " in capsys.readouterr().out
