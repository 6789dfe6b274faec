"""What holds for every dataset: nothing gets lost, ids survive, errors are one line, and nothing is left behind."""

import gzip
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import write_raw

from recbole_aia.cli import main
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.data.converters import CONVERTERS, Converter, Options, prepare
from recbole_aia.data.converters.interactions import Interactions, core, merge_repeated
from recbole_aia.data.converters.lines import Block
from recbole_aia.data.converters.profiles import resolve
from recbole_aia.data.converters.split import plain
from recbole_aia.data.converters.table import Table
from recbole_aia.data.converters.tokens import original, written
from recbole_aia.data.converters.values import Number
from recbole_aia.data.specs import AttributeSpec
from recbole_aia.errors import RawDataError

# 40 users, 50 items, 25 of them for each user.
PAIRS = [(u, i) for u in range(1, 41) for i in range(1, 51) if (u + i) % 2]
RATINGS = "".join(f"{u}::{i}::{1 + u * i % 5}::{978300000 + u * i}\n" for u, i in PAIRS)
USERS = "".join(f"{u}::{'FM'[u % 2]}::{[1, 25, 50][u % 3]}::{u % 7}::0{u}\n" for u in range(1, 41))
FILES = {"users.dat": USERS, "ratings.dat": RATINGS}


class Plain(Converter):
    """Tables with headers and quotes, so that any text can stand in them."""

    def specifications(self):
        return {"group": {"field": "group"}}, ["group"]


PLAIN = Plain(
    name="plain",
    title="plain tables",
    source="Made up.",
    interactions=Table(("inter.csv",), ("user_id", "item_id", "rating"), ",", True, quotes="doubled",
                       numbers={"rating": Number()}),
    users=Table(("users.csv",), ("user_id", "group"), ",", True, quotes="doubled"),
    fields={"group": "group"},
    merge={"rating": "sum"},
    core=1,
)  # fmt: skip


def as_csv(rows):
    return "\n".join(",".join('"' + str(value).replace('"', '""') + '"' for value in row) for row in rows) + "\n"


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_help_of_a_dataset_says_where_its_files_are_from(name, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", name, "--help"])
    assert CONVERTERS[name].source in " ".join(capsys.readouterr().out.split())


class TestIds:
    @settings(deadline=None)
    @given(st.text(st.characters()))
    def test_any_id_comes_back_and_is_text_that_a_file_can_hold(self, token):
        assert original(written(token)) == token
        assert written(token).encode().decode() == written(token)

    @settings(deadline=None)
    @given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
    def test_a_written_id_is_read_by_recboles_reader_as_it_is(self, tokens):
        texts = [written(token) for token in tokens]
        assert len(set(texts)) == len(tokens)
        file = io.StringIO("user_id:token\tx:token\n" + "".join(f"{text}\t1\n" for text in texts), newline="")
        frame = pd.read_csv(file, delimiter="\t", dtype=str, engine="python")
        assert frame["user_id:token"].tolist() == texts
        assert [text.strip() for text in texts] == texts

    @pytest.mark.parametrize(
        "token", ["AC/DC", "Sigur Rós", "東京事変", "Guns N' Roses", "a \\ b", 'The "5" Six', "-1"]
    )
    def test_an_ordinary_id_is_written_as_it_is(self, token):
        assert written(token) == token

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(
            # Python 3.10's csv reader knows no NUL.
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
            min_size=3,
            max_size=12,
            unique=True,
        )
    )
    def test_any_unicode_id_goes_from_the_raw_file_to_recbole_and_back(self, tmp_path_factory, tokens):
        folder = tmp_path_factory.mktemp("ids")
        rows = [(user, item, 1) for k, user in enumerate(tokens) for item in (tokens[k - 1], tokens[k - 2])]
        groups = [(user, "ab"[k % 2]) for k, user in enumerate(tokens)]
        files = {
            "inter.csv": "user_id,item_id,rating\n" + as_csv(rows),
            "users.csv": "user_id,group\n" + as_csv(groups),
        }
        prepare(PLAIN, write_raw(folder, files), folder)
        dataset = create_dataset(recbole_config("plain", folder))
        pairs = zip(*(dataset.inter_feat[name].tolist() for name in ("user_id", "item_id")), strict=True)
        found = {
            tuple(
                original(str(dataset.id2token(field, code)))
                for field, code in zip(("user_id", "item_id"), pair, strict=True)
            )
            for pair in pairs
        }
        assert found == {(user, item) for user, item, _ in rows}


def recbole_config(name, folder, **values):
    quiet = {"data_path": str(folder), "gpu_id": "", "state": "error", "attributes": ["group"], **values}
    return AIAConfig("BPR", name, config_dict={"eval_args": {"order": "RO"}, **quiet}, argv=[])


class TestAccount:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from(["1", "2.5", "x"])), max_size=80),
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", ""])), min_size=1, max_size=15),
        st.sampled_from([1, 2, 3]),
        st.sampled_from(["every", "none"]),
    )
    def test_every_row_is_malformed_or_dropped_or_kept(self, tmp_path_factory, rows, users, least, labels):
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

    def test_a_row_without_a_user_and_an_item_is_dropped_once(self, tmp_path):
        files = {"inter.csv": "user_id,item_id,rating\n,,1\n,i,1\nu,,1\nu,i,1\n", "users.csv": "user_id,group\nu,a\n"}
        summary = prepare(PLAIN, write_raw(tmp_path, files), tmp_path)
        assert summary.dropped == {"without a user": 2, "without an item": 1}

    @pytest.mark.parametrize("size", [1, 7, 64])
    def test_it_does_not_matter_where_the_blocks_of_a_file_end(self, size, tmp_path, monkeypatch):
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

    def test_a_terminal_shows_how_far_it_is(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        prepare(CONVERTERS["ml-1m"], write_raw(tmp_path, FILES), tmp_path / "out")
        assert re.search(r"ratings\.dat: +0%.* 0\.00/20\.6k", capsys.readouterr().err)

    def test_labels_are_those_of_the_users_in_recbole_too(self, tmp_path):
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


class TestSplitting:
    values = st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), max_size=5) | st.sampled_from(
        ["", '"', "NA", "1.0", "\ufeffx", "a\rb", "\x00", " "]
    )

    @settings(deadline=None)
    @given(st.lists(st.tuples(values, values, values.filter(lambda text: not text.endswith("\r"))), min_size=1))
    def test_lines_are_split_at_separators_and_at_nothing_else(self, rows):
        data = "".join("\t".join(row) + "\n" for row in rows).encode()
        columns = plain(Block(data, 7), 3, [2, 0], "\t", "utf-8")
        assert list(zip(*columns.texts, strict=True)) == [(row[2], row[0]) for row in rows]
        assert columns.lines.tolist() == list(range(7, 7 + len(rows)))
        assert columns.malformed == []

    def test_a_block_without_a_whole_row_has_none(self):
        columns = plain(Block(b"x\n", 1), 2, [1, 0], "\t", "utf-8")
        assert columns.texts == [[], []]
        assert columns.malformed == [(1, "1 value instead of 2")]


class TestRules:
    def test_plays_of_a_repeated_pair_are_summed_and_the_last_time_counts(self):
        many = Interactions(
            np.array([1, 0, 1, 1], np.int32),
            np.array([2, 0, 2, 1], np.int32),
            {"plays": np.array([1.0, 2, 3, 4]), "timestamp": np.array([9.0, 1, 5, 2])},
        )
        merged = merge_repeated(many, {"plays": "sum"})
        assert merged.users.tolist() == [1, 0, 1]
        assert merged.numbers["plays"].tolist() == [4, 2, 4]
        assert merged.numbers["timestamp"].tolist() == [9, 1, 2]

    def test_the_last_rating_counts_by_time_and_not_by_place(self):
        many = Interactions(
            np.zeros(2, np.int32),
            np.zeros(2, np.int32),
            {"rating": np.array([5.0, 1]), "timestamp": np.array([9.0, 3])},
        )
        assert merge_repeated(many, {"rating": "last"}).numbers["rating"].tolist() == [5]

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=60, unique=True), st.integers(1, 4))
    def test_the_core_is_the_largest_part_that_is_dense_enough(self, pairs, least):
        users, items = (np.array([pair[k] for pair in pairs], np.int32) for k in (0, 1))
        kept = core(Interactions(users, items, {}), least)
        # By hand: whoever is not dense enough goes, one at a time.
        left = set(pairs)
        while True:
            thin = {
                p for p in left if sum(q[0] == p[0] for q in left) < least or sum(q[1] == p[1] for q in left) < least
            }
            if not thin:
                break
            left -= {min(thin)}
        assert {pair for pair, stays in zip(pairs, kept.tolist(), strict=True) if stays} == left

    @pytest.mark.parametrize(
        ("policy", "values", "counts"),
        [
            ("majority", [1, -1, 0, -1], {"users": 2, "no_majority": 1}),
            ("last", [2, 1, 0, -1], {"users": 2}),
            ("drop", [-1, -1, 0, -1], {"users": 2}),
        ],
    )
    def test_a_user_with_several_values_gets_what_the_policy_says(self, policy, values, counts):
        users, found = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1, 2, 1, 1, 0, 0, 0])
        times = np.array([1.0, 9, 3, 5, 4, 0, 0])
        chosen, conflicts = resolve(users, found, times, 4, policy)
        assert chosen.tolist() == values
        assert conflicts == counts

    def test_a_user_who_stands_in_the_table_of_users_twice_is_one_user(self, tmp_path):
        files = {
            "inter.csv": "user_id,item_id,rating\nu,i,1\nv,i,1\n",
            "users.csv": "user_id,group\nu,a\nv,b\nu,b\nu,a\nv,b\n",
        }
        summary = prepare(PLAIN, write_raw(tmp_path, files), tmp_path / "out")
        assert (tmp_path / "out/plain/plain.user").read_text().splitlines()[1:] == ["u\ta", "v\tb"]
        assert summary.conflicts == {"group": {"users": 1}}

    def test_namibia_is_no_missing_value(self, tmp_path):
        users = "user_id,group\n" + "".join(f"{u},{'NA' if u % 2 else 'DE'}\n" for u in range(12))
        rows = "user_id,item_id,rating\n" + "".join(f"{u},{i},1\n" for u in range(12) for i in range(3))
        prepare(PLAIN, write_raw(tmp_path, {"inter.csv": rows, "users.csv": users}), tmp_path)
        config = recbole_config("plain", tmp_path)
        assert load_labels(config, create_dataset(config)).counts("group") == {"DE": 6, "NA": 6}

    def test_classes_can_be_few_of_the_values(self, tmp_path):
        class Few(Plain):
            def specifications(self):
                return {"group": {"field": "group", "classes": ["a"]}}, ["group"]

        files = {"inter.csv": "user_id,item_id,rating\nu,i,1\n", "users.csv": "user_id,group\nu,a\nv,b\nw,c\n"}
        converter = Few(**{**vars(PLAIN)})
        summary = prepare(converter, write_raw(tmp_path, files), tmp_path)
        assert summary.raw == {"group": {"missing": 2, "unknown": 2}}

    def test_a_user_without_a_row_of_labels_stays_where_labels_are_not_asked_for(self, tmp_path):
        files = {
            "inter.csv": "user_id,item_id,rating\nu,i,1\nv,i,1\nw,i,1\n",
            "users.csv": "user_id,group\nu,a\nv,\n",
        }
        write_raw(tmp_path, files)
        summary = prepare(PLAIN, tmp_path, tmp_path / "all", Options(labels="none"))
        assert (tmp_path / "all/plain/plain.user").read_text().splitlines()[1:] == ["u\ta", "v\t", "w\t"]
        assert summary.attributes["group"] == {"classes": {"a": 1}, "missing": 2}
        summary = prepare(PLAIN, tmp_path, tmp_path / "labelled")
        assert dict(summary.dropped) == {
            "of users who are not in the table of users": 1,
            "of users without a label": 1,
        }


class TestMistakes:
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
    def test_it_is_one_line_and_exit_code_2_and_nothing_is_left(self, files, message, tmp_path, capsys):
        write_raw(tmp_path / "raw", {name: text for name, text in {**FILES, **files}.items() if text is not None})
        core_ = ["--core=2"] if "nothing" in message else []
        assert main(["prepare", "ml-1m", "--raw=raw", "--out=out", *core_]) == 2
        error = capsys.readouterr().err
        assert error.startswith("recbole-aia: ")
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    def test_a_truncated_file_is_read_up_to_the_line_where_it_breaks_off(self, tmp_path, capsys):
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
            ("user_id,item_id,rating\nx,i,1\ny,i,1\n", "line 2: the user 'x' is not in the table of users, nor is any"),
            ('user_id,item_id,rating\nu,"i,1\nv,i,1\n', "line 2: a quote opens here and is not closed"),
            ("user_id,item_id,rating\nu,i,high\n", "line 2: rating is not a number, but 'high', and 1 of 1 rows"),
        ],
    )
    def test_a_table_that_is_not_what_it_should_be_is_named_with_its_line(self, inter, message, tmp_path):
        write_raw(tmp_path, {"inter.csv": inter, "users.csv": "user_id,group\nu,a\nv,b\n"})
        with pytest.raises(RawDataError) as caught:
            prepare(PLAIN, tmp_path, tmp_path / "out")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()

    def test_a_few_malformed_rows_are_counted_with_their_lines(self, convert):
        made = convert(
            "ml-1m", {**FILES, "ratings.dat": RATINGS + "1::2\n1::99::9::978300000\n\n2::99::5::978300000\n"}
        )
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

    def test_other_data_are_not_overwritten_and_the_same_stay_as_they_are(self, tmp_path, capsys):
        write_raw(tmp_path / "raw", FILES)
        command = ["prepare", "ml-1m", "--raw=raw", "--out=out"]
        assert main(command) == 0
        before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out/ml-1m").iterdir()}
        assert main(command) == 0
        assert main([*command, "--core=2"]) == 2
        assert "holds something else" in capsys.readouterr().err
        assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out/ml-1m").iterdir()} == before

    def test_a_gzip_file_is_the_same_as_a_plain_one(self, tmp_path):
        write_raw(tmp_path / "plain", FILES)
        write_raw(tmp_path / "packed", {f"{name}.gz": gzip.compress(text.encode()) for name, text in FILES.items()})
        for folder in ("plain", "packed"):
            prepare(CONVERTERS["ml-1m"], tmp_path / folder, tmp_path / f"out-{folder}")
        for suffix in ("inter", "user"):
            one, other = (tmp_path / f"out-{folder}/ml-1m/ml-1m.{suffix}" for folder in ("plain", "packed"))
            assert one.read_bytes() == other.read_bytes()


def test_the_command_prints_the_account_and_a_command_that_runs(tmp_path, capsys):
    write_raw(tmp_path / "raw", FILES)
    assert main(["prepare", "ml-1m", "--raw=raw", "--out=my data"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"ratings\.dat: rows read +1,000", printed)
    assert "F 20, M 20" in printed
    assert "recbole-aia run --model=BPR --dataset=ml-1m '--data_path=my data' --defense=calibrated" in printed
    options = ["--epochs=1", "--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False"]
    run = ["run", "--model=BPR", "--dataset=ml-1m", "--data_path=my data", "--attributes=[gender]", "--output_dir=out"]
    assert main([*run, *options]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["data"]["attributes"] == {"gender": {"classes": {"F": 20, "M": 20}, "missing": 0}}


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_property_file_of_a_dataset_fits_what_is_prepared(name, tmp_path):
    converter = CONVERTERS[name]
    config = AIAConfig("BPR", name, config_dict={"data_path": str(tmp_path), "gpu_id": ""}, argv=[])
    specs = {name: AttributeSpec.from_mapping(name, entry) for name, entry in config["attribute_specs"].items()}
    timed = any(column in converter.interactions.numbers for column in (converter.time, "timestamp"))
    assert {spec.field for spec in specs.values()} <= set(converter.fields)
    assert set(config["attributes"]) <= set(specs)
    assert config["load_col"]["inter"] == ["user_id", "item_id", *converter.merge, *(["timestamp"] if timed else [])]
    assert config["eval_args"]["order"] == ("TO" if timed else "RO")
