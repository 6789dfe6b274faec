"""Mistakes in raw files: each is one line, and nothing is left behind."""

import gzip

import numpy as np
import pytest
from miniatures import FILES, PLAIN, RATINGS, USERS, write_raw

from recbole_aia.cli import main
from recbole_aia.data.converters import CONVERTERS, prepare
from recbole_aia.errors import RawDataError


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ratings.dat": b""}, "ratings.dat', line 1: the file is empty"),
        ({"ratings.dat": b"\n\n"}, "ratings.dat', line 1: the file is empty"),
        ({"ratings.dat": RATINGS.replace("::", ",")}, "ratings.dat', line 1: 1 value instead of 4"),
        ({"ratings.dat": RATINGS.replace("::", "\t")}, "and 1,000 of 1,000 rows are malformed"),
        (
            {"ratings.dat.gz": gzip.compress(RATINGS.encode())[:-40], "ratings.dat": None},
            "the file breaks off here",
        ),
        (
            {"ratings.dat.gz": b"\x1f\x8b" + b"x" * 99, "ratings.dat": None},
            "ratings.dat.gz', line 1: the file breaks",
        ),
        (
            {"ratings.dat": RATINGS + "7::" + "1" * 10_000_000 + "\n"},
            "line 1001: the line is longer than 1,048,576",
        ),
        ({"ratings.dat": RATINGS + "1" * 2_000_000 + "\n" + RATINGS}, "line 1001: the line is longer"),
        ({"users.dat": USERS.encode() + b"41::F::1::1::\xe9\xe8\n"}, "users.dat', line 41: the text is not utf-8"),
        ({"users.dat": USERS.encode("utf-16")}, "users.dat', line 1: this is UTF-16"),
        ({"users.dat": None}, "there is no 'users.dat' in 'raw'. Get https"),
        ({"users.dat": None, "ml-1m.zip": "x"}, "there is no 'users.dat' in 'raw'. Unpack 'ml-1m.zip' first"),
        ({"a/users.dat": USERS, "b/users.dat": USERS, "users.dat": None}, "could both be meant"),
        ({"ratings.dat": "1::1::5::978300000\n"}, "nothing is left"),
    ],
)
def test_it_is_one_line_and_exit_code_2_and_nothing_is_left(files, message, tmp_path, capsys):
    write_raw(tmp_path / "raw", {name: text for name, text in {**FILES, **files}.items() if text is not None})
    core_ = ["--core=2"] if "nothing" in message else []
    assert main(["prepare", "ml-1m", "--raw=raw", "--out=out", *core_]) == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_truncated_file_is_read_up_to_the_line_where_it_breaks_off(tmp_path, capsys):
    rng = np.random.default_rng(0)  # so that it does not compress, and lines are lost one by one
    lines = [f"1::{rng.integers(10**12)}::5::978300000\n" for _ in range(20_000)]
    whole = gzip.compress("".join(lines).encode())
    write_raw(tmp_path / "raw", {"users.dat": USERS, "ratings.dat.gz": whole[: len(whole) // 2]})
    assert main(["prepare", "ml-1m", "--raw=raw", "--out=out"]) == 2
    line = int(capsys.readouterr().err.split("line ")[1].split(":")[0])
    assert 8_000 < line < 12_000


@pytest.mark.parametrize(
    ("inter", "message"),
    [
        (
            "user_id,item_id\nu,i\n",
            "inter.csv', line 1: there is no column 'rating' in the header, which has user_id",
        ),
        (
            "user_id;item_id;rating\nu;i;1\n",
            "there is no column 'user_id' in the header, which has user_id;item_id",
        ),
        ("user_id,item_id,rating,item_id\nu,i,1,2\n", "line 1: the header has the column 'item_id' more than once"),
        ("user_id,item_id,rating\nu,i,1\nuser_id,item_id,rating\n", "line 3: the header stands here again"),
        ("user_id,item_id,rating\n", "line 1: no rows follow the header"),
        (
            "user_id,item_id,rating\nx,i,1\ny,i,1\n",
            "line 2: the user (an id like a) is not in the table of users",
        ),
        ('user_id,item_id,rating\nu,"i,1\nv,i,1\n', "line 2: a quote opens here and is not closed"),
        ("user_id,item_id,rating\nu,i,high\n", "line 2: rating is not a number, but 'high', and 1 of 1 rows"),
    ],
)
def test_a_table_that_is_not_what_it_should_be_is_named_with_its_line(inter, message, tmp_path):
    write_raw(tmp_path, {"inter.csv": inter, "users.csv": "user_id,group\nu,a\nv,b\n"})
    with pytest.raises(RawDataError) as caught:
        prepare(PLAIN, tmp_path, tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_few_malformed_rows_are_counted_with_their_lines(convert):
    made = convert("ml-1m", {**FILES, "ratings.dat": RATINGS + "1::2\n1::99::9::978300000\n\n2::99::5::978300000\n"})
    assert made.account["files"]["ratings.dat"] == {
        "rows": 1003,
        "malformed": {"2 values instead of 4": 1, "rating is not a number from 1 to 5": 1},
        "examples": [
            "line 1001: 2 values instead of 4",
            "line 1002: rating is not a number from 1 to 5, but '9'",
        ],
        "repaired": 0,
    }
    assert made.account["kept"]["interactions"] == 1001


def test_other_data_are_not_overwritten_and_the_same_stay_as_they_are(tmp_path, capsys):
    write_raw(tmp_path / "raw", FILES)
    command = ["prepare", "ml-1m", "--raw=raw", "--out=out"]
    assert main(command) == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out/ml-1m").iterdir()}
    assert main(command) == 0
    assert main([*command, "--core=2"]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out/ml-1m").iterdir()} == before


def test_a_gzip_file_is_the_same_as_a_plain_one(tmp_path):
    write_raw(tmp_path / "plain", FILES)
    write_raw(tmp_path / "packed", {f"{name}.gz": gzip.compress(text.encode()) for name, text in FILES.items()})
    for folder in ("plain", "packed"):
        prepare(CONVERTERS["ml-1m"], tmp_path / folder, tmp_path / f"out-{folder}")
    for suffix in ("inter", "user"):
        one, other = (tmp_path / f"out-{folder}/ml-1m/ml-1m.{suffix}" for folder in ("plain", "packed"))
        assert one.read_bytes() == other.read_bytes()
