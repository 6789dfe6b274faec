"""Informed attackers in audits, which are told of earlier releases, and in runs, whose undefended twin is one."""

import json
import shutil

import jsonschema
import numpy as np
import pytest
from audited import USERS, aligned, audit, results
from runs import FAST

from recbole_aia import run_recbole_aia
from recbole_aia.report import results_schema


@pytest.fixture
def releases(arrays):
    """Two releases: ``old.npz``, and ``new.npz`` in which each user has moved by their gender."""
    tokens, old = arrays
    gender = (aligned(tokens).iloc[:, 2] == "M").to_numpy()
    direction = np.random.default_rng(0).normal(size=old.shape[1])
    new = old + old.std() * (gender[:, None] - 0.5) * direction
    np.savez("old.npz", user_tokens=tokens, embeddings=old)
    np.savez("new.npz", user_tokens=tokens, embeddings=new)
    return tokens, old, new


def audited(*arguments, embeddings="new.npz"):
    return audit(
        f"--embeddings={embeddings}", "--labels", USERS, "--attributes=[gender]", "--output_dir=out", *arguments
    )


def gender():
    return results()["informed"]["attributes"]["gender"]


class TestBefore:
    def test_a_movement_by_the_label_is_found_and_said(self, releases, capsys):
        assert audited("--before=old.npz") == 0
        cases = gender()
        assert cases["difference"]["auc"] == pytest.approx(1)
        assert cases["verdict"] == "above"
        assert "with the old vectors, gender: the movement gives it away, AUC 1.000" in capsys.readouterr().out
        assert [entry["path"] for entry in results()["audit"]["before"]] == ["old.npz"]

    def test_users_are_matched_by_name_and_those_of_one_file_left_out(self, releases, capsys):
        tokens, old, _ = releases
        order = np.random.default_rng(1).permutation(len(tokens))[:800]
        np.savez("some.npz", user_tokens=tokens[order], embeddings=old[order])
        assert audited("--before", "some.npz") == 0
        assert gender()["difference"]["auc"] == pytest.approx(1)
        assert {row["n_users"] for row in results()["informed"]["rows"]} == {800}
        assert {row["n_users"] for row in results()["attacks"]} == {943}
        assert "143 of 943 users are not in every earlier release" in capsys.readouterr().out

    def test_rows_are_matched_where_a_file_has_no_names(self, releases, capsys):
        np.save("rows.npy", releases[1])
        assert audited("--before=rows.npy") == 0
        assert gender()["difference"]["auc"] == pytest.approx(1)
        assert "row i of rows.npy was taken for row i" in capsys.readouterr().out

    def test_several_releases_are_compared_one_by_one(self, releases):
        assert audited("--before=old.npz", "--before=new.npz") == 0
        views = [*dict.fromkeys(row["view"] for row in results()["informed"]["rows"])]
        assert views == ["old", "difference", "unexplained", "difference_2", "unexplained_2", "old_and_new"]
        assert results()["informed"]["releases"] == 2

    def test_a_run_and_a_checkpoint_are_compared_too_and_know_the_activity(self, bpr, releases):
        for subject in ([bpr], ["--checkpoint", bpr / "checkpoint.pth"]):
            shutil.rmtree("out", ignore_errors=True)
            assert audit(*subject, "--before=new.npz", "--attributes=[gender]", "--output_dir=out") == 0
            # Here it is the release before that tells the label, so there is nothing left to add to it.
            assert gender()["old"]["auc"] > 0.9
            assert gender()["verdict"] == "within"
            assert gender()["activity"]["alone"]["view"] == "activity_alone"

    def test_the_vectors_alone_are_attacked_as_without_it(self, releases):
        assert audited() == 0
        alone = results()
        assert audited("--before=old.npz") == 0
        told = results()
        assert "informed" not in alone
        for found in (alone, told):
            for row in found["attacks"]:
                del row["seconds"]
        assert alone["attacks"] == told["attacks"]
        assert alone["worst_case"] == told["worst_case"]

    def test_the_gate_guards_what_the_movement_adds(self, releases, capsys):
        tokens, _, _ = releases
        old = 10 * np.random.default_rng(2).normal(size=(len(tokens), 4))
        new = old + (aligned(tokens).iloc[:, [2]] == "M").to_numpy()  # far less than users differ by
        np.savez("vague.npz", user_tokens=tokens, embeddings=old)
        np.savez("moved.npz", user_tokens=tokens, embeddings=new)
        assert audited("--fail_above=0.3", embeddings="moved.npz") == 0
        assert audited("--fail_above=0.3", "--before=vague.npz", embeddings="moved.npz") == 1
        assert "beyond the old vectors" in capsys.readouterr().err

    def test_the_protocol_says_where_it_knows_nothing(self, releases, capsys):
        assert audited("--protocol=informed") == 0
        assert "neither earlier releases (--before) nor the users' activity are known" in capsys.readouterr().out


@pytest.mark.usefixtures("releases")
class TestMistakes:
    @pytest.mark.parametrize(
        ("before", "message"),
        [
            ("nowhere.npz", "'nowhere.npz' cannot be read: No such file"),
            ("short.npy", "short.npy has 900 rows and the audited vectors 943"),
            ("others.npz", "no audited user is in every earlier release (others.npz)"),
            ("few.npz", "attribute 'gender' has 0 of 2 classes"),
            ("nan.npz", "the vectors of 943 of 943 users in 'nan.npz' are not finite"),
            ("words.npy", "It must hold numbers"),
        ],
    )
    def test_each_is_one_line_and_exit_code_2_and_leaves_nothing(self, before, message, releases, tmp_path, capsys):
        tokens, old, _ = releases
        np.save("short.npy", old[:900])
        np.save("words.npy", np.array([["a", "b"]]))
        np.savez("others.npz", user_tokens=np.char.add("x", tokens), embeddings=old)
        np.savez("few.npz", user_tokens=tokens[:3], embeddings=old[:3])
        np.savez("nan.npz", user_tokens=tokens, embeddings=np.full_like(old, np.nan))
        there = sorted(tmp_path.rglob("*"))
        assert audited(f"--before={before}") == 2
        error = capsys.readouterr().err
        assert error.startswith("recbole-aia: ")
        assert message in error
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == there

    def test_what_is_compared_must_be_audited(self, bpr, capsys):
        assert audit(bpr, "--before=old.npz", "--attack_views=[top_k]") == 2
        assert "Add served to attack_views" in capsys.readouterr().err

    def test_an_option_that_is_misspelt_is_refused(self, capsys):
        assert audited("--befor=old.npz") == 2
        assert "before" in capsys.readouterr().err


def ran(folder, patch, **values):
    patch.chdir(folder)
    patch.setattr("sys.argv", ["pytest"])
    values = {**FAST, "attributes": ["gender"], "attack_folds": 3, "output_dir": "out", **values}
    return run_recbole_aia("BPR", config_dict=values)["aia"]


class TestRun:
    def test_one_with_a_defense_looks_at_the_difference_by_itself(self, tmp_path, monkeypatch, capsys):
        found = ran(tmp_path, monkeypatch, defense="calibrated", stage="post")
        informed = found["informed"]
        assert [(row["state"], row["view"], row["attacker"]) for row in informed["rows"]] == [
            ("defended", "old", "logistic"),
            ("defended", "difference", "logistic"),
            ("defended", "unexplained", "logistic"),
        ]
        undefended = next(row for row in found["attacks"] if row["state"] == "undefended")
        assert informed["rows"][0]["metrics"] == undefended["metrics"]
        assert found["run"]["seconds"]["informed"] < 10
        assert "with the old vectors, gender: " in capsys.readouterr().out
        jsonschema.validate(json.loads((tmp_path / "out" / "results.json").read_text()), results_schema())

    def test_under_its_protocol_it_looks_at_everything(self, tmp_path, monkeypatch):
        found = ran(tmp_path, monkeypatch, defense="calibrated", stage="post", protocol="informed")
        views = [*dict.fromkeys(row["view"] for row in found["informed"]["rows"])]
        assert views == ["old", "difference", "unexplained", "old_and_new", "activity", "activity_alone"]

    def test_without_a_defense_only_its_protocol_asks_and_then_for_activity(self, tmp_path, monkeypatch):
        assert "informed" not in ran(tmp_path, monkeypatch)
        informed = ran(tmp_path, monkeypatch, protocol="informed", output_dir="told")["informed"]
        assert informed["state"] == "undefended"
        assert [*informed["attributes"]["gender"]] == ["activity"]
