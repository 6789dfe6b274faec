"""The command ``recbole-aia prepare``: synthetic data, mistakes, and what it says next."""

import errno
import json
import shlex

import pytest

from recbole_aia.cli import main
from recbole_aia.data.converters import CONVERTERS, Summary
from recbole_aia.data.shards import Shards

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


def test_the_twin_of_a_dataset_is_prepared_and_run_with_the_command_that_is_printed(capsys, tmp_path):
    assert main(["prepare", "synthetic", "--like=lfm-2b", "--scale=0.005", "--out=my data"]) == 0
    printed = capsys.readouterr().out
    assert "users 100, items 7,046, interactions 14,148" in printed
    assert "gender: f 22, m 78\n" in printed
    assert "age: <35 33, 35-45 34, >45 33 (published sizes are not known: equal)" in printed
    command = shlex.split(printed.splitlines()[-1])
    assert {"--dataset=synthetic-lfm-2b", "--data_path=my data"} <= set(command)
    short = ["--epochs=1", "--embedding_size=8", "--attackers=[logistic]", "--attack_repeats=1", "--attack_folds=2"]
    assert main([*command[1:], *short, "--show_progress=False", "--output_dir=out"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["attributes"] == {
        "age": {"classes": {"<35": 33, "35-45": 34, ">45": 33}, "missing": 0},
        "gender": {"classes": {"f": 22, "m": 78}, "missing": 0},
    }


def test_a_twin_as_shards_is_that_of_the_text(capsys, tmp_path):
    for out, options in (("text", []), ("shards", ["--shards"])):
        assert main(["prepare", "synthetic", "--like=lfm-2b", "--scale=0.005", f"--out={out}", *options]) == 0
    printed = capsys.readouterr().out
    assert printed.count("users 100, items 7,046, interactions 14,148") == 2
    name = "synthetic-lfm-2b"
    shards = Shards.opened(tmp_path / "shards" / name / f"{name}.shards")
    rows = zip(
        *(shards.tokens(column)[shards.column(column) - 1] for column in ("user_id", "item_id")),
        shards.column("timestamp").astype(int).astype(str),
        strict=True,
    )
    assert ["\t".join(row) for row in rows] == (tmp_path / "text" / name / f"{name}.inter").read_text().split("\n")[
        1:-1
    ]
    assert [path.name for path in (tmp_path / "shards").iterdir()] == [name]


def test_a_full_disk_is_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    sizes = ["--users=30", "--items=20", "--interactions=200"]
    assert main(["prepare", "synthetic", *sizes, "--out=new", "--shards"]) == 2
    assert capsys.readouterr().err == (
        "recbole-aia: cannot write to 'new': No space left on device. Give another --out.\n"
    )
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--users, --items, --interactions missing. Give all three sizes, or --like NAME."),
        (["--users=30", "--items=20"], "--interactions missing"),
        (["--like=ml-1m", "--users=30", "--items=20"], "--like ml-1m has its own sizes. Leave --users, --items out"),
        (["--like=ml-2m"], "invalid choice: 'ml-2m'"),
        (["--like=ml-1m", "--scale=0.001"], "scale is 0.001, which leaves 6 users. It must be at least 0.0033."),
        (["--like=ml-1m", "--scale=0"], "scale is 0.0"),
        (["--like=ml-1m", "--scale=nan"], "scale is nan"),
        (["--like=ml-1m", "--scale=1.5"], "scale is 1.5"),
        (["--users=30", "--items=20", "--interactions=200", "--scale=0.5"], "no --like names one"),
    ],
)
def test_a_mistake_in_the_sizes_is_one_line_and_leaves_nothing(arguments, message, capsys, tmp_path):
    try:
        code = main(["prepare", "synthetic", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


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
