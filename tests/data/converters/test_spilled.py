"""Interactions that wait on the disk against those that wait in memory: every row is the same."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import write_raw
from test_csv import COMMAND, CUSTOMERS, ORDERS

from recbole_aia.cli import main
from recbole_aia.data.converters import spilled
from recbole_aia.data.converters.interactions import Collector, Interactions
from recbole_aia.data.converters.spilled import SpilledCollector
from recbole_aia.data.shards import Shards

ROW = st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 9), st.integers(0, 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 4), st.sets(st.integers(0, 6)))
def test_rows_merge_drop_and_stand_as_in_memory(tmp_path_factory, rows, size, least, without):
    columns = np.array(rows).T
    merge = {"rating": "last", "plays": "sum"}
    folder = tmp_path_factory.mktemp("parts")
    collectors = Collector(merge), SpilledCollector(merge, folder, buckets=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled, "_ROWS", 7)
        for start in range(0, len(rows), size):
            users, items, plays, times = columns[:, start : start + size]
            numbers = {"rating": plays * 1.0, "plays": plays * 1.0, "timestamp": times * 1.0}
            for collector in collectors:
                collector.add(Interactions(users.astype(np.int32), items.astype(np.int32), numbers))
        mask = np.array([user not in without for user in range(7)])
        text, disk = (collector.all().of_users(mask).core(least) for collector in collectors)
        found = list(disk.parts())
    assert collectors[0].repeated == collectors[1].repeated
    assert len(text) == len(disk) == sum(len(users) for users, *_ in found)
    for one, other in zip(text.counts(), disk.counts(), strict=True):
        np.testing.assert_array_equal(np.trim_zeros(one, "b"), np.trim_zeros(other, "b"))
    if found:
        for expected, parts in ((text.users, [part[0] for part in found]), (text.items, [part[1] for part in found])):
            np.testing.assert_array_equal(expected, np.concatenate(parts))
        for name, column in text.numbers.items():
            np.testing.assert_array_equal(column, np.concatenate([part[2][name] for part in found]))


def test_shards_have_the_ids_and_numbers_of_the_text(tmp_path, capsys):
    orders = ORDERS + "".join(f"9;p3;c{user};2024-03-02;{user % 5}\n" for user in range(40))
    write_raw(tmp_path / "raw", {"orders.csv": orders + "9;NA;c3;2024-03-02;1\n", "customers.csv": CUSTOMERS})
    for out, options in (("text", []), ("shards", ["--shards"])):
        assert main([*COMMAND, "--core=4", "--labels=some", f"--out={out}", *options]) == 0
    printed = capsys.readouterr().out
    text, made = tmp_path / "text" / "shop", tmp_path / "shards" / "shop"
    assert printed.count("written in another way") == 0
    assert (text / "shop.user").read_bytes() == (made / "shop.user").read_bytes()
    assert json.loads((text / "shop.prepared.json").read_text()) == json.loads(
        (made / "shop.prepared.json").read_text()
    )
    shards = Shards.opened(made / "shop.shards")
    tokens = [shards.tokens(name)[shards.column(name) - 1] for name in ("user_id", "item_id")]
    numbers = [shards.column(name) for name in ("stars", "timestamp")]
    rows = zip(*tokens, *(column.astype(int).astype(str) for column in numbers), strict=True)
    assert ["\t".join(row) for row in rows] == (text / "shop.inter").read_text().splitlines()[1:]
    assert not (made / "shop.inter").exists()
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["shop"]
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*")} == {0o600, 0o700}

    before = (made / "shop.shards" / "stars.npy").stat().st_mtime_ns
    assert main([*COMMAND, "--core=4", "--labels=some", "--out=shards", "--shards"]) == 0
    assert (made / "shop.shards" / "stars.npy").stat().st_mtime_ns == before
    assert main([*COMMAND, "--core=4", "--labels=some", "--out=text", "--shards"]) == 2
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--core=99"], ["--out=taken"]])
def test_a_failure_leaves_nothing(options, tmp_path, capsys):
    write_raw(tmp_path / "raw", {"orders.csv": ORDERS, "customers.csv": CUSTOMERS})
    (tmp_path / "taken").write_text("")
    assert main([*COMMAND, "--out=out", "--shards", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    shutil.rmtree(tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
