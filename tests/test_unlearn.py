import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_aia import load_run, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.report import results_schema
from recbole_aia.unlearn import Asked, add, begin, withdraw

FAST = ["--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1", "--attack_permutations=20"]
QUICK = [*FAST, "--unlearn_max_steps=10", "--gpu_id=", "--show_progress=False"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The checkpoint of a trained BPR."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["pytest"])
        run_recbole_aia(
            "BPR", config_dict={"attributes": ["gender"], "epochs": 2, "output_dir": "run"},
            argv=[*FAST, "--gpu_id=", "--show_progress=False"],
        )  # fmt: skip
    return folder / "run" / "checkpoint.pth"


def tensors(folder):
    state = torch.load(Path(folder) / "checkpoint.pth", weights_only=True)
    return {**state["state_dict"], **{k: v for k, v in state["other_parameter"].items() if v is not None}}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_writes_a_checkpoint_vectors_results_and_a_ledger(base, capsys, tmp_path):
    before = base.read_bytes()
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--mode", "data_free", "--output_dir", "safe"]
    assert main(["unlearn", *arguments, *QUICK]) == 0
    assert base.read_bytes() == before
    assert {path.name for path in Path("safe").iterdir()} == {
        "checkpoint.pth", "embeddings.npz", "ledger.json", "results.json"
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "undefended" in printed
    assert "ndcg@10" in printed
    results = json.loads(Path("safe/results.json").read_text())
    import jsonschema

    jsonschema.validate(results, results_schema())
    assert (results["run"]["defense"], results["run"]["stage"]) == ("attrcloak", "post")
    (record,) = results["unlearned"]
    assert (record["attributes"], record["users"], record["mode"]) == (["gender"], None, "data_free")
    assert not same(tensors("safe"), tensors(base.parent))


def test_load_run_opens_what_was_unlearnt_and_its_vectors_are_those_exported(base):
    begin(base, "attrcloak", Asked("[gender]"), Path("safe"), argv=QUICK)
    run = load_run("safe")
    arrays = np.load("safe/embeddings.npz", allow_pickle=False)
    assert torch.equal(run.model.user_embedding.weight[1:], torch.from_numpy(arrays["embeddings"]))
    assert arrays["user_tokens"].tolist() == run.dataset.field2id_token["user_id"][1:].tolist()
    assert run.config["defense"] == "attrcloak"


class TestLedger:
    def test_a_withdrawn_request_leaves_nothing_behind(self, base):
        Path("some.txt").write_text("\n".join(map(str, range(1, 400))))
        begin(base, "attrcloak", Asked("[gender]"), Path("both"), argv=QUICK)
        add(Path("both"), Asked("[age]", "some.txt"))
        together = tensors("both")
        begin(base, "attrcloak", Asked("[age]", "some.txt"), Path("one"), argv=QUICK)
        assert not same(together, tensors("one"))
        withdraw(Path("both"), 1)
        assert same(tensors("both"), tensors("one"))
        ledger = json.loads(Path("both/ledger.json").read_text())
        assert [entry["id"] for entry in ledger["requests"]] == [2]
        assert len(ledger["requests"][0]["users"]) == 399

    def test_the_order_of_requests_does_not_matter(self, base):
        for folder, order in (("ab", ["gender", "age"]), ("ba", ["age", "gender"])):
            begin(base, "attrcloak", Asked(f"[{order[0]}]"), Path(folder), argv=QUICK)
            add(Path(folder), Asked(f"[{order[1]}]"))
        assert same(tensors("ab"), tensors("ba"))

    def test_without_requests_the_model_is_the_bases(self, base, capsys):
        begin(base, "attrcloak", Asked("[gender]"), Path("safe"), argv=QUICK)
        withdraw(Path("safe"), 1)
        assert same(tensors("safe"), tensors(base.parent))
        capsys.readouterr()
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 0
        assert "no requests" in capsys.readouterr().out

    def test_it_lists_who_asked_for_what(self, base, capsys):
        begin(base, "attrcloak", Asked("[gender]", "core:0.5"), Path("safe"), argv=QUICK)
        capsys.readouterr()
        main(["unlearn", "--output_dir", "safe", "--list"])
        printed = capsys.readouterr().out
        assert "gender  472 users" in printed
        assert str(base) in printed

    def test_a_base_that_has_changed_is_refused(self, base, tmp_path):
        copied = tmp_path / "copy.pth"
        copied.write_bytes(base.read_bytes())
        begin(copied, "attrcloak", Asked("[gender]"), Path("safe"), argv=QUICK)
        before = {path.name: path.read_bytes() for path in Path("safe").iterdir()}
        copied.write_bytes(base.read_bytes() + b"x")
        assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
        assert {path.name: path.read_bytes() for path in Path("safe").iterdir()} == before


def test_those_who_asked_and_those_who_did_not_are_attacked_apart(base, capsys):
    results = begin(base, "attrcloak", Asked("[gender]", "core:0.5"), Path("safe"), argv=QUICK)
    groups = {row.get("users") for row in results["attacks"]}
    assert groups == {None, "asked", "did_not_ask"}
    rows = {(row["users"], row["state"]): row for row in results["attacks"] if "users" in row}
    assert rows["asked", "defended"]["n_users"] == 472
    others = [rows["did_not_ask", state]["metrics"] for state in ("undefended", "defended")]
    assert others[0] == others[1]
    assert "gender of the 472 who asked: worst case" in capsys.readouterr().out


def test_few_who_ask_are_told_so(base, capsys):
    begin(base, "attrcloak", Asked("[gender]", "random:0.02"), Path("safe"), argv=QUICK)
    assert "few who asked, gender F" in capsys.readouterr().out


def test_the_guarantee_of_dp_is_printed_and_its_noise_is_drawn_once(base, capsys):
    begin(base, "dp", Asked("[gender]"), Path("safe"), argv=QUICK)
    assert "guarantee: the vector of each of these users" in capsys.readouterr().out
    assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
    assert "fresh noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is asked for"),
        (["--checkpoint", "x.pth", "--list"], "--checkpoint and --list are given"),
        (["--checkpoint", "x.pth"], "need --attributes"),
        (["--checkpoint", "x.pth", "--attributes=[gender]"], "'x.pth' cannot be read"),
        (["--list"], "there is no ledger"),
        (["--withdraw", "1"], "there is no ledger"),
        (["--add", "--attributes=[age]", "--seed=1"], "keeps the settings"),
        (["--checkpoint", "BASE", "--attributes=[]"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "nobody.txt"], "nobody.txt cannot be read"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "core:2"], "cannot be drawn"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "strangers.txt"], "'stranger' first"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--defense", "raid"], "does not unlearn on a checkpoint"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--unlearn_maxsteps=3"], "Did you mean 'unlearn_max_steps'"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(base, arguments, message, capsys, tmp_path):
    Path("strangers.txt").write_text("1\nstranger\n")
    arguments = [str(base) if word == "BASE" else word for word in arguments]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("safe").exists() or not list(Path("safe").iterdir())


def test_a_folder_that_holds_something_is_not_overwritten(base, capsys):
    Path("safe").mkdir()
    Path("safe/checkpoint.pth").write_text("precious")
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--output_dir", "safe"]
    assert main(["unlearn", *arguments]) == 2
    assert Path("safe/checkpoint.pth").read_text() == "precious"


def test_a_ledger_that_cannot_be_withdrawn_from_says_what_stands(base, capsys):
    begin(base, "attrcloak", Asked("[gender]"), Path("safe"), argv=QUICK)
    assert main(["unlearn", "--output_dir", "safe", "--withdraw", "7"]) == 2
    assert "Those that stand: 1" in capsys.readouterr().err
