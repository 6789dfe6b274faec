import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_aia.cli import main

SCRIPT = Path(__file__).parents[1] / "run_recbole_aia.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=LightGNC"], "no model 'LightGNC'"),
        (["--model=Pop"], "Pop has no user embedding view"),
        (["--model=BPR", "--dataset=ml-100m"], "ml-100m.inter"),
        (["--model=BPR", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--model=BPR", "--attributes=[zip_code]"], "795 classes"),
        (["--model=BPR", "--defense=riad"], "no defense 'riad'"),
        (["--model=BPR", "--raid_etta=1"], "Did you mean 'raid_eta'"),
        (["--model=BPR", "--defense=raid", "--raid_eta=-1"], "raid_eta is -1"),
        (["--model=BPR", "--attackers=[logistik]"], "logistic"),
        (["--model=BPR", "--epochs=ten"], "epochs is 'ten'"),
        (["--model=BPR", "--attributes", "gender"], "Write --key=value"),
        (["--model=BPR", "--config_files", "nowhere.yaml"], "nowhere.yaml' does not exist"),
        ([], "no model is given"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_error_of_the_script_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--model=BPR", "--defense=riad"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--fix"], [], ["prepare"], ["prepare", "nonsense"]])
def test_an_unknown_command_is_one_line(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own errors
        code = stopped.code
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["audit", "--help"],
        ["unlearn", "--help"],
        ["doctor", "--help"],
        ["prepare", "--help"],
        ["prepare", "synthetic", "--help"],
        ["prepare", "ml-1m", "--help"],
        ["prepare", "csv", "--help"],
    ],
)
def test_every_command_has_help(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    assert len(capsys.readouterr().out) > 150


def test_help_for_run_lists_the_keys(capsys):
    main(["run", "--help"])
    printed = capsys.readouterr().out
    assert "raid_eta: 1.0" in printed
    assert "attack_folds: ~" in printed


def test_the_doctor_finds_nothing_wrong_here(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "all is well" in printed
    assert "ml-100k" in printed


def test_a_run_from_the_command_line(tmp_path):
    arguments = [
        "-m", "BPR", "-d", "ml-100k", "--attributes=gender", "--epochs=1", "--attackers=[logistic]",
        "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False", "--output_dir=out",
    ]  # fmt: skip
    assert main(["run", *arguments]) == 0
    assert (tmp_path / "out" / "results.json").is_file()


SYNTHETIC = ["prepare", "synthetic", "--users=300", "--items=120", "--interactions=4000"]


def test_synthetic_data_are_prepared_and_run_with_the_command_that_is_printed(capsys, tmp_path):
    assert main([*SYNTHETIC, "--leak=3", "--out=my data"]) == 0
    printed = capsys.readouterr().out
    assert "users 300, items 120, interactions 4,000" in printed
    assert "a 210, b 90" in printed
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
