"""Models that are made from a ledger: requests are added and withdrawn, and files are not what they were."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from unlearned import FAST, PLAIN, QUICK, contents, same, tensors

from recbole_aia.cli import main
from recbole_aia.jobs.unlearn import RequestOptions, add, begin, withdraw
from recbole_aia.unlearning.ledger import Ledger


class TestLedger:
    @pytest.mark.parametrize(
        ("model", "target"), [("BPR", "table"), ("NeuMF", "table"), ("LightGCN", "table"), ("LightGCN", "released")]
    )
    def test_a_withdrawn_request_leaves_nothing_behind(self, small, model, target):
        path = small(model)
        argv = [*FAST, f"--target={target}", "--unlearn_max_steps=2"]
        begin(path, "attrcloak", RequestOptions("[gender]"), Path("both"), argv=argv)
        add(Path("both"), RequestOptions("[age]", "random:0.5"))
        together = tensors("both")
        begin(path, "attrcloak", RequestOptions("[age]", "random:0.5"), Path("one"), argv=argv)
        assert not same(together, tensors("one"))
        withdraw(Path("both"), 1)
        assert same(tensors("both"), tensors("one"))
        ledger = json.loads(Path("both/ledger.json").read_text())
        assert [entry["id"] for entry in ledger["requests"]] == [2]
        assert len(ledger["requests"][0]["users"]) == 150
        assert ("table" in np.load("both/embeddings.npz")) == (target == "table")

    def test_the_order_of_requests_does_not_matter(self, small):
        base = small("BPR")
        for folder, order in (("ab", ["gender", "age"]), ("ba", ["age", "gender"])):
            begin(base, "attrcloak", RequestOptions(f"[{order[0]}]"), Path(folder), argv=QUICK)
            add(Path(folder), RequestOptions(f"[{order[1]}]"))
        assert same(tensors("ab"), tensors("ba"))

    def test_without_requests_the_model_is_the_bases(self, small, capsys):
        base = small("BPR")
        begin(base, "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=QUICK)
        withdraw(Path("safe"), 1)
        assert same(tensors("safe"), torch.load(base, weights_only=True)["state_dict"])
        capsys.readouterr()
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 0
        assert "no requests" in capsys.readouterr().out

    def test_it_lists_who_asked_for_what(self, base, capsys):
        begin(base, "attrcloak", RequestOptions("[gender]", "core:0.5"), Path("safe"), argv=QUICK)
        capsys.readouterr()
        main(["unlearn", "--output_dir", "safe", "--list"])
        printed = capsys.readouterr().out
        assert "gender  472 users" in printed
        assert str(base) in printed

    def test_a_base_that_has_changed_is_refused(self, base, tmp_path):
        copied = tmp_path / "copy.pth"
        copied.write_bytes(base.read_bytes())
        begin(copied, "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=QUICK)
        before = contents("safe")
        copied.write_bytes(base.read_bytes() + b"x")
        assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
        assert contents("safe") == before

    def test_a_dataset_that_has_changed_is_refused(self, small, tmp_path, capsys):
        path = small("BPR")
        begin(path, "noise", RequestOptions("[gender]"), Path("safe"), argv=FAST)
        before = contents("safe")
        with (tmp_path / "mine" / "mine.user").open("a") as file:
            file.write("944\t30\tF\twriter\t12345\n")
        capsys.readouterr()
        assert main(["unlearn", "--output_dir", "safe", "--withdraw", "1"]) == 2
        error = capsys.readouterr().err
        assert "the dataset's files (.inter, .user) have changed" in error
        assert error.count("\n") == 1
        assert contents("safe") == before

    def test_files_appear_together_and_an_interrupted_command_is_noticed(self, small, capsys, monkeypatch):
        base = small("BPR")
        begin(base, "noise", RequestOptions("[gender]"), Path("safe"), argv=PLAIN)
        before = contents("safe")
        with monkeypatch.context() as patch:
            patch.setattr("recbole_aia.jobs.unlearn.write_results", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                withdraw(Path("safe"), 1)
        assert contents("safe") == before
        replace = os.replace
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", lambda a, b: 1 / 0 if Path(b) == Path("safe/ledger.json") else replace(a, b))
            with pytest.raises(ZeroDivisionError):
                withdraw(Path("safe"), 1)
        assert contents("safe")["ledger.json"] == before["ledger.json"]
        assert contents("safe")["checkpoint.pth"] != before["checkpoint.pth"]
        capsys.readouterr()
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 0
        assert "was not made from the ledger" in capsys.readouterr().err
        withdraw(Path("safe"), 1)
        capsys.readouterr()
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 0
        assert "was not made" not in capsys.readouterr().err
        assert same(tensors("safe"), torch.load(base, weights_only=True)["state_dict"])


class _Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_a_trusted_base_is_kept_as_plain_data_and_no_ledger_runs_code(small, capsys):
    base = small("BPR")
    begin(base, "noise", RequestOptions("[gender]"), Path("first"), argv=PLAIN)
    begin(Path("first"), "noise", RequestOptions("[age]"), Path("safe"), trust_checkpoint=True, argv=PLAIN)
    begin(Path("first"), "noise", RequestOptions("[age]"), Path("plain"), argv=PLAIN)
    assert same(tensors("safe"), tensors("plain"))
    ledger = json.loads(Path("safe/ledger.json").read_text())
    assert ledger["base"] == "base.pth"
    assert not any("trust" in key for key in ledger)
    kept = torch.load("safe/base.pth", weights_only=True)
    assert [record["attributes"] for record in kept["unlearned"]] == [["gender"]]
    withdraw(Path("safe"), 1)
    assert same(tensors("safe"), tensors("first"))
    torch.save({**kept, "bomb": _Bomb()}, "safe/base.pth")
    ledger |= {"sha256": hashlib.sha256(Path("safe/base.pth").read_bytes()).hexdigest(), "trust_checkpoint": True}
    for forged in (ledger, {key: ledger[key] for key in ledger if key != "trust_checkpoint"}):
        Path("safe/ledger.json").write_text(json.dumps(forged))
        assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
    assert not Path("exploded").exists()


def test_the_last_request_of_a_base_that_names_no_attributes_can_be_withdrawn(small):
    base = small("BPR", attributes=None)
    begin(base, "noise", RequestOptions("{gender: {classes: [M, F]}}"), Path("safe"), argv=PLAIN)
    withdraw(Path("safe"), 1)
    assert same(tensors("safe"), torch.load(base, weights_only=True)["state_dict"])
    assert set(json.loads(Path("safe/results.json").read_text())["worst_case"]) == {"gender"}
    add(Path("safe"), RequestOptions("[age]"))
    assert set(json.loads(Path("safe/results.json").read_text())["worst_case"]) == {"age"}


@pytest.mark.parametrize("defense", ["attrcloak", "u2u"])
def test_a_request_that_cannot_stand_alone_is_named_when_another_is_withdrawn(small, defense, capsys):
    base = small("BPR")
    Path("one.txt").write_text("7\n")
    begin(base, defense, RequestOptions("[gender]"), Path("safe"), argv=QUICK)
    add(Path("safe"), RequestOptions("[gender]", "random:0.5"))
    add(Path("safe"), RequestOptions("[gender, age]", "random:0.5"))
    add(Path("safe"), RequestOptions("[age]", "one.txt"))
    withdraw(Path("safe"), 1)
    withdraw(Path("safe"), 2)
    before = contents("safe")
    capsys.readouterr()
    assert main(["unlearn", "--output_dir", "safe", "--withdraw", "3"]) == 2
    error = capsys.readouterr().err
    assert "request 4 cannot be served; withdraw that first" in error
    assert error.count("\n") == 1
    assert contents("safe") == before


def test_a_model_made_with_other_versions_is_said_to_be_the_same_up_to_rounding(small, capsys):
    begin(small("BPR"), "noise", RequestOptions("[gender]"), Path("safe"), argv=PLAIN)
    ledger = Ledger.read(Path("safe"))
    assert ledger.versions["torch"] == torch.__version__
    main(["unlearn", "--output_dir", "safe", "--list"])
    assert "rounding" not in capsys.readouterr().err
    other = Path("safe/ledger.json").read_text().replace(f'"{torch.__version__}"', '"1.0"')
    Path("safe/ledger.json").write_text(other)
    main(["unlearn", "--output_dir", "safe", "--list"])
    assert "torch 1.0, and this is recbole-aia" in capsys.readouterr().err
    add(Path("safe"), RequestOptions("[age]"))
    assert Ledger.read(Path("safe")).versions == ledger.versions


def test_a_dataset_that_comes_only_when_it_is_read_is_the_one_that_the_ledger_knows(small, monkeypatch, tmp_path):
    base = small("BPR")
    (tmp_path / "mine").rename(tmp_path / "away")
    monkeypatch.setattr(
        "recbole_aia.data.dataset.obtain", lambda _, folder: (tmp_path / "away").rename(tmp_path / folder.name)
    )
    begin(base, "noise", RequestOptions("[gender]"), Path("safe"), argv=PLAIN)
    assert main(["unlearn", "--output_dir", "safe", "--withdraw", "1"]) == 0


def test_a_ledger_that_cannot_be_withdrawn_from_says_what_stands(small, capsys):
    base = small("BPR")
    begin(base, "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=QUICK)
    assert main(["unlearn", "--output_dir", "safe", "--withdraw", "7"]) == 2
    assert "Those that stand: 1" in capsys.readouterr().err


def test_a_ledger_that_names_a_stranger_is_refused_in_one_line(small, capsys):
    base = small("BPR")
    begin(base, "noise", RequestOptions("[gender]", "random:0.1"), Path("safe"), argv=PLAIN)
    ledger = json.loads(Path("safe/ledger.json").read_text())
    (entry,) = ledger["requests"]
    stranger = {**ledger, "requests": [{**entry, "users": ["stranger"]}]}
    Path("safe/ledger.json").write_text(json.dumps(stranger))
    assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
    assert "request 1 in ledger.json names 'stranger'" in capsys.readouterr().err
