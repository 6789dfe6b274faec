"""Every bad input ends with exit code 2 and one useful line before any work; nothing is written.

The table is in ``tests/bad_rows``, a line for each input.
"""

import hashlib
import logging
import warnings
from pathlib import Path

import pytest
import torch
from bad_rows import data, embeddings, names, preparing, protecting, values, yamls
from bad_rows.making import ACCEPTED

from recbole_aia.cli import main

ROWS = [*values.ROWS, *yamls.ROWS, *names.ROWS, *data.ROWS, *embeddings.ROWS, *preparing.ROWS, *protecting.ROWS]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """The dataset that most rows use, made once."""
    out = tmp_path_factory.mktemp("made") / "dataset"
    sizes = ["--users=150", "--items=80", "--interactions=3000", "--leak=3"]
    assert main(["prepare", "synthetic", *sizes, f"--out={out}"]) == 0
    return {file.name: file.read_bytes() for file in (out / "synthetic").iterdir()}


def contents():
    """Every file below the working folder, with a digest of its content."""
    files = (path for path in sorted(Path().rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_the_table_is_long_and_names_each_case_once():
    cases = [row.case for row in ROWS]
    assert len(cases) >= 300
    assert len(set(cases)) == len(cases)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.case) for row in ROWS])
def test_it_is_refused_in_one_line_before_any_work_or_works(row, synthetic, capfd, monkeypatch):
    if torch.cuda.is_available() and "torch sees no such GPU" in row.words:
        pytest.skip("RecBole's gpu_id counts until CUDA has begun in a process")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    folder = Path("dataset/synthetic")
    folder.mkdir(parents=True)
    for name, content in synthetic.items():
        (folder / name).write_bytes(content)
    if row.make is not None:
        row.make()
    before, folders = contents(), sorted(Path().rglob("*/"))
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = main(list(row.arguments))
        except SystemExit as stopped:  # argparse's own errors
            code = stopped.code
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    if row.words is ACCEPTED:
        assert code == 0, err
        return
    assert code == 2, err
    assert not out
    assert err.count("\n") == 1, err
    assert row.words in err
    assert contents() == before
    assert sorted(Path().rglob("*/")) == folders
