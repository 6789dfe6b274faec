"""Nothing gets lost: every row is accounted for."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import FILES, PLAIN, as_csv, recbole_config, write_raw

from recbole_aia.data import create_dataset, load_labels
from recbole_aia.data.converters import CONVERTERS, Options, prepare
from recbole_aia.errors import RawDataError


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from(["1", "2.5", "x"])), max_size=80),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", ""])), min_size=1, max_size=15),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["every", "none"]),
)
def test_every_row_is_malformed_or_dropped_or_kept(tmp_path_factory, rows, users, least, labels):
    folder = tmp_path_factory.mktemp("account")
    files = {
        "inter.csv": "user_id,item_id,rating\n" + as_csv([(u or "", i or "", r) for u, i, r in rows]),
        "users.csv": "user_id,group\n" + as_csv([(u or "", g) for u, g in users]),
    }
    try:
        summary = prepare(PLAIN, write_raw(folder, files), folder / "out", Options(core=least, labels=labels))
    except RawDataError:
        assert not (folder / "out").exists() or not list((folder / "out").iterdir())
        return
    file = summary.files["inter.csv"]
    assert file["rows"] == len(rows)
    assert file["rows"] == sum(file["malformed"].values()) + summary.dropped.total() + summary.kept["interactions"]
    lines = (folder / "out/plain/plain.inter").read_text().splitlines()[1:]
    owners = [line.split("\t")[0] for line in (folder / "out/plain/plain.user").read_text().splitlines()[1:]]
    users_left = [line.split("\t")[0] for line in lines]
    items_left = [line.split("\t")[1] for line in lines]
    assert len(lines) == summary.kept["interactions"]
    assert sorted(owners) == sorted(set(users_left))
    assert min(map(users_left.count, owners)) >= least
    assert min(map(items_left.count, items_left)) >= least
    if least == 1 and labels == "none":
        plays = {}
        for u, i, r in rows:
            if u and i and r in ("1", "2.5"):
                plays[str(u), str(i)] = plays.get((str(u), str(i)), 0) + float(r)
        assert {tuple(line.split("\t")[:2]): float(line.split("\t")[2]) for line in lines} == plays


def test_a_row_without_a_user_and_an_item_is_dropped_once(tmp_path):
    files = {"inter.csv": "user_id,item_id,rating\n,,1\n,i,1\nu,,1\nu,i,1\n", "users.csv": "user_id,group\nu,a\n"}
    summary = prepare(PLAIN, write_raw(tmp_path, files), tmp_path)
    assert summary.dropped == {"without a user": 2, "without an item": 1}


@pytest.mark.parametrize("size", [1, 7, 64])
def test_it_does_not_matter_where_the_blocks_of_a_file_end(size, tmp_path, monkeypatch):
    rows = [(f"{k % 5}\nü", f'"{k % 3}"', k) for k in range(20)]
    files = {
        "inter.csv": "user_id,item_id,rating\n" + as_csv([*rows, ("stranger", "i", 1)]),
        "users.csv": "user_id,group\n" + as_csv([(user, "ab"[len(user) % 2]) for user in {row[0] for row in rows}]),
    }
    write_raw(tmp_path, files)
    whole = prepare(PLAIN, tmp_path, tmp_path / "whole")
    monkeypatch.setattr("recbole_aia.data.converters.lines._BLOCK", size)
    parts = prepare(PLAIN, tmp_path, tmp_path / "parts")
    assert parts == whole
    one, other = (tmp_path / folder / "plain/plain.inter" for folder in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()


def test_a_terminal_shows_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    prepare(CONVERTERS["ml-1m"], write_raw(tmp_path, FILES), tmp_path / "out")
    assert re.search(r"ratings\.dat: +0%.* 0\.00/20\.6k", capsys.readouterr().err)


def test_labels_are_those_of_the_users_in_recbole_too(tmp_path):
    users = [(f"u{k}", "ab"[k % 2]) for k in range(20)]
    rows = [(f"u{k}", f"i{j}", 1) for k in range(20) for j in range(3)]
    files = {
        "inter.csv": "user_id,item_id,rating\n" + as_csv(rows),
        "users.csv": "user_id,group\n" + as_csv(users),
    }
    prepare(PLAIN, write_raw(tmp_path, files), tmp_path)
    config = recbole_config("plain", tmp_path)
    dataset = create_dataset(config)
    labels = load_labels(config, dataset)
    tokens = dataset.id2token("user_id", np.arange(1, 21))
    groups = [labels.classes["group"][code] for code in labels.column("group")[1:].tolist()]
    assert dict(zip(tokens.tolist(), groups, strict=True)) == dict(users)


def test_an_attribute_of_which_nobody_has_a_label_is_accounted_for(tmp_path):
    files = {"inter.csv": "user_id,item_id,rating\nu,i,1\n", "users.csv": "user_id,group\nu,\n"}
    summary = prepare(PLAIN, write_raw(tmp_path, files), tmp_path, Options(labels="none"))
    assert "group" in summary.text()
