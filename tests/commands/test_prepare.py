"""The command ``recbole-aia prepare``: synthetic data, mistakes, and what it says next."""

import json
import shlex

import pytest

from recbole_aia.cli import main
from recbole_aia.data.converters import CONVERTERS, Summary

SYNTHETIC = ["prepare", "synthetic", "--users=300", "--items=120", "--interactions=4000"]


def test_synthetic_data_are_prepared_and_run_with_the_command_that_is_printed(capsys, tmp_path):
    assert main([*SYNTHETIC, "--leak=3", "--out=my data"]) == 0
    printed = capsys.readouterr().out
    assert "users 300, items 120, interactions 4,000" in printed
    assert "a 210, b 90" in printed
    made = tmp_path / "my data" / "synthetic"
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o600}
    command = shlex.split(printed.splitlines()[-1])
    assert command[:2] == ["recbole-aia", "run"]
    assert command[2:] == ["--model=BPR", "--dataset=synthetic", "--data_path=my data", "--defense=calibrated"]
    short = ["--epochs=2", "--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1"]
    assert main([*command[1:], *short, "--show_progress=False", "--output_dir=out"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["attributes"] == {"group": {"classes": {"a": 210, "b": 90}, "missing": 0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--interactions=99"], "interactions is 99."),
        (["--leak=-1"], "leak is -1.0"),
        (["--seed=-1"], "seed is -1"),
        (["--users=ten"], "--users: invalid int value: 'ten'"),
        (["--laek=1"], "unknown argument '--laek=1'"),
        (["--out=taken"], "cannot write to 'taken'"),
    ],
)
def test_a_mistake_in_what_to_prepare_is_one_line_and_leaves_nothing(arguments, message, capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    try:
        code = main([*SYNTHETIC, *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_preparing_what_needs_too_much_memory_is_one_line(capsys, monkeypatch):
    def generate(*_, **__):
        raise MemoryError

    monkeypatch.setattr("recbole_aia.data.synthetic.generate", generate)
    assert main(SYNTHETIC) == 2
    assert "too much for this machine's memory" in capsys.readouterr().err


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_dataset_suggests_a_run_with_the_defense_that_is_recommended(name, capsys, monkeypatch):
    # Raw files of every dataset are not at hand; what is printed of them does not matter here.
    monkeypatch.setattr("recbole_aia.data.converters.prepare", lambda converter, *_: Summary(converter.name, {}))
    assert main(["prepare", name, "--raw=raw", "--out=my data"]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    expected = ["recbole-aia", "run", "--model=BPR", f"--dataset={name}", "--data_path=my data", "--defense=calibrated"]
    assert command == expected
