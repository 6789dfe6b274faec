"""The command ``recbole-aia protect``: what it writes, what it leaves out, and that mistakes leave nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_aia.cli import main

LEARN = ["--labels=labels.csv", "--attributes=[gender]", "--out=safe.npz"]


def protect(*arguments):
    try:
        return main(["protect", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def gap(embeddings, gender):
    return abs(embeddings[gender == "F"].mean(0) - embeddings[gender == "M"].mean(0)).max()


def vectors(name):
    with np.load(name) as arrays:
        return arrays["embeddings"]


@pytest.fixture
def users(tmp_path):
    """Files of users and of their labels, in another order and not of all; returns the vectors and all genders."""
    rng = np.random.default_rng(0)
    gender, names = rng.choice(["F", "M"], 300), np.array([f"u{i}" for i in range(300)])
    embeddings = rng.normal(size=(300, 5)).astype(np.float32)
    embeddings[:, 0] += 1.5 * (gender == "F")
    np.savez("users.npz", user_tokens=names, embeddings=embeddings, table=embeddings, interactions=np.arange(300))
    labels = pd.DataFrame({"user": names, "gender": np.where(np.arange(300) < 60, "", gender), "zip": names})
    labels.sample(frac=1, random_state=0).to_csv("labels.csv", index=False)
    return embeddings, gender


def files(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_everybody_is_protected_and_nothing_else_is_written(users, capsys):
    embeddings, gender = users
    assert protect("users.npz", *LEARN) == 0
    with np.load("safe.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["user_tokens", "embeddings"]
        protected = arrays["embeddings"]
        assert list(arrays["user_tokens"]) == [f"u{i}" for i in range(300)]
    assert protected.dtype == np.float32
    for some in (slice(0, 60), slice(60, 300)):
        assert gap(protected[some], gender[some]) < 0.5 * gap(embeddings[some], gender[some])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("gender: learned from 240 labels; vectors explain ")
    assert printed[1].startswith("largest statistic (about 1 if labels were random): ")
    assert "users without a label move, and are protected, like all others" in printed
    assert "interactions and table of users.npz left out: not protected" in printed
    assert printed[-1] == "written to safe.npz"


def test_without_attributes_every_usable_column_is_hidden_and_the_others_are_named(users, capsys):
    assert protect("users.npz", "--labels=labels.csv", "--out=safe.npz") == 0
    printed = capsys.readouterr().out
    assert "gender: learned from 240 labels" in printed
    assert "zip is not protected: " in printed


def test_labels_reach_their_users_by_name(users):
    assert protect("users.npz", *LEARN) == 0
    shuffled = pd.read_csv("labels.csv").sample(frac=1, random_state=1)
    shuffled.to_csv("labels.csv", index=False)
    assert protect("users.npz", *LEARN[:-1], "--out=again.npz") == 0
    np.testing.assert_array_equal(vectors("safe.npz"), vectors("again.npz"))


def test_the_seed_decides(users):
    for name, seed in (("a.npz", 7), ("b.npz", 7), ("c.npz", 8)):
        assert protect("users.npz", *LEARN[:-1], f"--out={name}", f"--seed={seed}") == 0
    np.testing.assert_array_equal(vectors("a.npz"), vectors("b.npz"))
    assert not np.allclose(vectors("a.npz"), vectors("c.npz"))


def test_later_users_are_protected_by_the_map_without_labels(users, capsys, tmp_path):
    assert protect("users.npz", *LEARN, "--map=map.npz") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["written to safe.npz", "written to map.npz"]
    assert [Path(name).stat().st_mode & 0o777 for name in ("safe.npz", "map.npz")] == [0o600, 0o600]
    rng = np.random.default_rng(1)
    gender = rng.choice(["F", "M"], 300)
    later = rng.normal(size=(300, 5))
    later[:, 0] += 1.5 * (gender == "F")
    np.save("later.npy", later)
    (tmp_path / "labels.csv").unlink()
    assert protect("--with", "map.npz", "later.npy", "--out", "later-safe.npz") == 0
    assert "gender: learned from 240 labels" in capsys.readouterr().out
    with np.load("later-safe.npz") as arrays:
        assert arrays.files == ["embeddings"]
        assert gap(arrays["embeddings"], gender) < 0.5 * gap(later, gender)


def test_rows_without_names_are_taken_in_order(users, capsys):
    embeddings, gender = users
    np.save("rows.npy", embeddings)
    pd.DataFrame({"gender": gender}).to_csv("rows.csv", index=False)
    assert protect("rows.npy", "--labels=rows.csv", "--out=safe.npz") == 0
    assert "no user tokens in rows.npy: its row i was taken for line i of rows.csv" in capsys.readouterr().out
    assert gap(vectors("safe.npz"), gender) < 0.5 * gap(embeddings, gender)


class TestMoreUsersThanMemoryTakes:
    @pytest.fixture
    def rows(self, users, monkeypatch):
        """A file of users without names, more than are learned from; returns the vectors and all genders."""
        embeddings, gender = users
        np.save("rows.npy", embeddings)
        known = np.where(np.arange(300) % 3 == 0, "", gender)
        pd.DataFrame({"gender": known, "town": "x"}).to_csv("rows.csv", index=False)
        monkeypatch.setattr("recbole_aia.data.large.MOST", 200)
        monkeypatch.setattr("recbole_aia.data.matrices._PART", 64 * 5)
        return embeddings, gender

    def test_all_are_protected_part_by_part_by_what_some_have_taught(self, rows, capsys):
        embeddings, gender = rows
        asked = ["--labels=rows.csv", "--attributes=[gender]"]
        assert protect("rows.npy", *asked, "--out=safe.npy", "--map=map.npz") == 0
        protected = np.load("safe.npy")
        assert protected.shape == (300, 5)
        assert protected.dtype == np.float32
        assert gap(protected, gender) < 0.5 * gap(embeddings, gender)
        assert "users, who were drawn" in capsys.readouterr().out
        assert protect("rows.npy", "--with=map.npz", "--out=again.npy") == 0
        assert np.array_equal(np.load("again.npy"), protected)

    def test_an_audit_attacks_users_who_are_drawn_and_says_so(self, rows, capsys):
        quick = ["--attackers=[logistic]", "--attack_folds=3", "--attack_repeats=1", "--attack_jobs=1"]
        asked = ["--embeddings=rows.npy", "--labels=rows.csv", "--attributes=[gender]", "--show_progress=False"]
        assert main(["audit", *asked, *quick, "--output_dir=out"]) == 0
        results = json.loads(Path("out", "results.json").read_text())
        n = results["data"]["n_users"]
        assert 100 < n <= 200
        assert f"note: {n} of 300 users were drawn (seed 2020) and are attacked" in capsys.readouterr().out
        assert results["attacks"][0]["metrics"]["advantage"]["mean"] > 0.4
        people = pd.read_csv("out/users.csv")
        assert people.user.max() > 250
        assert (people["class"] == rows[1][people.user]).all()

    def test_earlier_releases_are_found_row_by_row(self, rows, capsys):
        np.save("later.npy", rows[0] + np.random.default_rng(1).normal(size=rows[0].shape))
        quick = ["--attackers=[logistic]", "--attack_folds=3", "--attack_repeats=1", "--attack_jobs=1"]
        asked = ["--labels=rows.csv", "--attributes=[gender]", "--show_progress=False", "--output_dir=out"]
        assert main(["audit", "--embeddings=later.npy", "--before=rows.npy", *asked, *quick]) == 0
        found = json.loads(Path("out", "results.json").read_text())["informed"]["attributes"]["gender"]
        assert found["beyond_old"] < 0.1  # noise tells nothing that the old vectors do not

    def test_a_row_that_is_not_finite_is_named_by_its_place_in_the_file(self, rows, capsys):
        rows[0][150, 2] = np.inf
        np.save("rows.npy", rows[0])
        np.save("whole.npy", np.where(np.isfinite(rows[0]), rows[0], 0))
        asked = ["--labels=rows.csv", "--attributes=[gender]"]
        assert protect("whole.npy", *asked, "--out=safe.npy", "--map=map.npz") == 0
        assert protect("rows.npy", "--with=map.npz", "--out=again.npy") == 2
        assert "row 150 are not finite" in capsys.readouterr().err
        assert not Path("again.npy").exists()

    def test_an_npz_takes_all_into_memory_as_for_few(self, rows):
        asked = ["--labels=rows.csv", "--attributes=[gender]"]
        assert protect("rows.npy", *asked, "--out=safe.npz") == 0
        assert vectors("safe.npz").shape == (300, 5)

    def test_what_needs_all_at_once_is_refused(self, rows, tmp_path, capsys):
        before, more = files(tmp_path), ["--out=safe.npy", "--calibrated_labels=own"]
        assert protect("rows.npy", "--labels=rows.csv", "--attributes=[gender]", *more) == 2
        assert "protected part by part" in capsys.readouterr().err
        assert files(tmp_path) == before


def test_own_labels_leave_users_without_one_and_say_what_they_give_away(users, capsys):
    embeddings, _ = users
    assert protect("users.npz", *LEARN, "--calibrated_labels=own") == 0
    protected = vectors("safe.npz")
    np.testing.assert_array_equal(protected[:60], embeddings[:60])
    assert (protected[60:] != embeddings[60:]).any(1).all()
    printed = capsys.readouterr().out
    assert "gender: 240 users with a label, 60 without" in printed
    assert "reads the labels off the difference" in printed


def test_what_was_written_can_be_audited(users):
    assert protect("users.npz", *LEARN) == 0
    quick = ["--attackers=[logistic]", "--attack_folds=3", "--attack_repeats=1", "--attack_jobs=1"]
    asked = ["--labels=labels.csv", "--attributes=[gender]", "--show_progress=False"]
    gains = []
    for file in ("users.npz", "safe.npz"):
        assert main(["audit", f"--embeddings={file}", *asked, *quick, f"--output_dir={file}.d"]) == 0
        attacks = json.loads(Path(f"{file}.d", "results.json").read_text())["attacks"]
        gains.append(next(row for row in attacks if row["view"] == "served")["metrics"]["advantage"]["mean"])
    assert gains[0] > 0.4
    assert gains[1] < 0.25


def test_numbers_are_cut_into_classes_as_in_an_audit(users, capsys):
    ages = pd.DataFrame({"user": [f"u{i}" for i in range(300)], "age": np.arange(300) % 60})
    ages.to_csv("ages.csv", index=False)
    assert protect("users.npz", "--labels=ages.csv", "--attributes={age: {bins: [30]}}", "--out=safe.npz") == 0
    assert "age: learned from 300 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["users.npz", "--out=safe.npz"], "give either --labels FILE, to learn from, or --with MAP"),
        (["users.npz", *LEARN, "--with=map.npz"], "give either --labels FILE, to learn from, or --with MAP"),
        (["users.npz", "--with=kept.npz", "--out=safe.npz", "--map=map.npz"], "--map goes with --labels"),
        (["users.npz", "--with=kept.npz", "--out=safe.npz", "--attributes=[gender]"], "--attributes goes with"),
        (["users.npz", "--with=kept.npz", "--out=safe.npz", "--seed=0"], "--seed goes with --labels"),
        (
            ["users.npz", "--with=kept.npz", "--out=safe.npz", "--calibrated_labels=posterior"],
            "--calibrated_labels goes with --labels",
        ),
        (["users.npz", *LEARN, "--calibrated_labels=own", "--map=map.npz"], "--calibrated_labels=own makes no map"),
        (["users.npz", *LEARN, "--calibrated_labels=mine"], "invalid choice: 'mine'"),
        (["users.npz", *LEARN, "--atributes=[gender]"], "Did you mean --attributes?"),
        (["users.npz", *LEARN, "--calibrated_label=own"], "Did you mean --calibrated_labels?"),
        (["users.npz", *LEARN, "--epochs=3"], "unknown argument '--epochs=3'"),
        (["users.npz", *LEARN, "--seed=-1"], "seed is -1. It must be a whole number >= 0"),
        (["users.npz", *LEARN, "--seed=x"], "invalid int value: 'x'"),
        (["users.npz", "--labels=labels.csv"], "required: --out"),
        ([*LEARN], "required: EMBEDDINGS"),
        (["users.npz", *LEARN[:-1], "--out=safe.npy"], "--out is 'safe.npy'. It must end in .npz"),
        (["users.npz", *LEARN, "--map=map.bin"], "--map is 'map.bin'. It must end in .npz"),
        (["users.npz", *LEARN[:-1], "--out=users.npz"], "'users.npz' exists already. Give another --out"),
        (["users.npz", *LEARN, "--map=users.npz"], "'users.npz' exists already. Give another --map"),
        (["users.npz", *LEARN, "--map=./safe.npz"], "--out and --map are both"),
        (["users.npz", *LEARN[:-1], "--out=gone/safe.npz"], "there is no folder 'gone'"),
        (["users.npz", *LEARN, "--map=gone/map.npz"], "there is no folder 'gone'"),
        (["gone.npz", *LEARN], "gone.npz"),
        (["users.npz", "--labels=gone.csv", "--out=safe.npz"], "gone.csv"),
        (["users.npz", "--labels=labels.csv", "--attributes=[height]", "--out=safe.npz"], "height"),
        (["users.npz", "--labels=labels.csv", "--attributes=3", "--out=safe.npz"], "It must be a list of names"),
        (["users.npz", "--labels=few.csv", "--out=safe.npz"], "'few': 16 users have a label, and at least 20"),
        (["users.npz", "--with=gone.npz", "--out=safe.npz"], "there is no file 'gone.npz'"),
        (["users.npz", "--with=users.npz", "--out=safe.npz"], "is no map of recbole-aia"),
        (["narrow.npy", "--with=kept.npz", "--out=safe.npz"], "4 dimensions, and the map was learned from 5"),
        (["broken.npy", "--with=kept.npz", "--out=safe.npz"], "not finite"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, words, users, kept, capsys, tmp_path):
    (tmp_path / "kept.npz").write_bytes(kept)
    np.save("narrow.npy", users[0][:, :4])
    np.save("broken.npy", np.full((3, 5), np.inf))
    pd.DataFrame({"user": [f"u{i}" for i in range(16)], "few": ["a", "b"] * 8}).to_csv("few.csv", index=False)
    before = files(tmp_path)
    assert protect(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert words in error
    assert error.count("\n") == 1
    assert files(tmp_path) == before


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A map of five dimensions, as bytes."""
    from recbole_aia import learn_protection

    path = tmp_path_factory.mktemp("kept") / "map.npz"
    rng = np.random.default_rng(0)
    learn_protection(rng.normal(size=(60, 5)), rng.integers(0, 2, 60), max_steps=1)[1].save(path)
    return path.read_bytes()


def test_a_file_that_cannot_be_written_takes_the_map_with_it(users, capsys, monkeypatch, tmp_path):
    replace = os.replace

    def full(source, target):
        if str(target).endswith("safe.npz"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("recbole_aia.storage.files.os.replace", full)
    before = files(tmp_path)
    assert protect("users.npz", *LEARN, "--map=map.npz") == 2
    assert "cannot write 'safe.npz': No space left on device" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_help_has_both_ways(capsys):
    assert protect("--help") == 0
    printed = capsys.readouterr().out
    assert "recbole-aia protect users.npz --labels users.csv" in printed
    assert "recbole-aia protect --with map.npz new.npz" in printed
