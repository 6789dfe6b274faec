"""What files, tables and messages of an audit say of single users."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audited import QUICK, audit, results

from recbole_aia.cli import main

FEW = 3  # users of the smallest class


@pytest.fixture
def users():
    """Vectors and labels of 60 users; three are of a third class, and names look like formulas."""
    names = [f"=secret{i}" for i in range(60)]
    labels = np.array(["a", "b"], dtype=object)[np.arange(60) % 2]
    labels[:FEW] = "rare"
    np.savez("e.npz", user_tokens=names, embeddings=np.random.default_rng(0).normal(size=(60, 4)))
    pd.DataFrame({"user": names, "kind": labels}).to_csv("l.csv", index=False)
    return names, labels


FILES = ["--embeddings=e.npz", "--labels=l.csv", "--output_dir=out"]


@pytest.mark.parametrize("folds", [3, 4])
def test_a_class_of_fewer_than_five_is_shown_without_its_count(users, capsys, folds):
    quick = [argument for argument in QUICK if "folds" not in argument]
    assert main(["audit", *FILES, *quick, f"--attack_folds={folds}"]) == 0
    found = results()
    assert found["data"]["attributes"]["kind"]["classes"] == {"a": 28, "b": 29, "rare": "<5"}
    assert {str(row["left_out"]) for row in found["attacks"]} == {"{}" if folds == FEW else "{'rare': '<5'}"}
    said = capsys.readouterr().out
    assert ("rare (<5)" in said) == (folds > FEW)
    assert not re.search(r"rare\W+3", said)


def test_users_csv_holds_no_cell_that_a_spreadsheet_runs(users):
    assert audit(*FILES) == 0
    with Path("out/users.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["user"] for row in rows} == {f"'{name}" for name in users[0]}


def test_only_the_owner_can_read_what_an_audit_leaves(users):
    assert audit(*FILES) == 0
    modes = {file.name: file.stat().st_mode & 0o777 for file in [Path("out"), *Path("out").iterdir()]}
    assert modes == {"out": 0o700, "report.html": 0o600, "results.json": 0o600, "users.csv": 0o600}


@pytest.mark.parametrize("flag", ["--no_labels_out", "--no_labels_out=True"])
def test_without_labels_out_no_file_has_a_users_label_or_name(users, capsys, flag):
    assert audit(*FILES) == 0
    assert Path("out/users.csv").exists()
    assert audit(*FILES, flag) == 0
    assert sorted(file.name for file in Path("out").iterdir()) == ["report.html", "results.json"]
    for name in ("results.json", "report.html"):
        assert "secret" not in Path("out", name).read_text(encoding="utf-8")
    assert "users.csv" not in capsys.readouterr().out.splitlines()[-1]


def test_a_run_without_labels_out_is_audited_without_them_too(bpr, tmp_path):
    config = tmp_path / "more.yaml"
    config.write_text("no_labels_out: true\n")
    assert audit(bpr, "--attributes=[gender]", "--output_dir=out", f"--config_files={config}") == 0
    assert sorted(file.name for file in Path("out").iterdir()) == ["report.html", "results.json"]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["secret1", "secret2", "secret1"], "rows 1 and 3 of 'l.csv' name the same user"),
        (["secret1", "secret2", "secret3"], "(ids like a9, 9 a digit and a letters) is in l.csv (ids like aaaaaa9)"),
    ],
)
def test_a_message_names_nobody(tokens, message, capsys):
    np.savez("e.npz", user_tokens=["u1", "u2"], embeddings=np.ones((2, 2)))
    pd.DataFrame({"user": tokens, "kind": "a"}).to_csv("l.csv", index=False)
    assert audit(*FILES) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "secret" not in said
