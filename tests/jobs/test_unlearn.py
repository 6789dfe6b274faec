import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_aia import AIAConfig, AttrCloakUnlearner, load_run, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.data import LabelTable, create_dataset
from recbole_aia.jobs.loading import training_split
from recbole_aia.jobs.unlearn import RequestOptions, add, begin, withdraw
from recbole_aia.model import build_model
from recbole_aia.report import results_schema
from recbole_aia.trainer import UndefendedTrainer, unlearners
from recbole_aia.unlearning.ledger import Ledger
from recbole_aia.unlearning.requests import Request, make_task

FAST = [
    "--attackers=[logistic]",
    "--attack_folds=2",
    "--attack_repeats=1",
    "--attack_jobs=1",
    "--attack_permutations=20",
]
PLAIN = [*FAST, "--gpu_id=", "--show_progress=False"]
QUICK = [*PLAIN, "--unlearn_max_steps=10"]  # for defenses that descend


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


@pytest.fixture
def small(ml100k, tmp_path):
    """Gives the checkpoint of a small model as it is built, on a third of ml-100k's users."""
    (tmp_path / "mine").mkdir()
    for kind in ("inter", "user"):
        head, *lines = Path(ml100k.dataset_path, f"ml-100k.{kind}").read_text().splitlines()
        kept = [line for line in lines if int(line.split("\t")[0]) <= 300]
        (tmp_path / "mine" / f"mine.{kind}").write_text("\n".join([head, *kept[:: 5 if kind == "inter" else 1], ""]))

    def build(model, **more):
        values = {"embedding_size": 8, "mf_embedding_size": 8, "mlp_embedding_size": 8, "mlp_hidden_size": [8]}
        values |= {"n_layers": 1, "init_std": 0.1, "gpu_id": "", "show_progress": False, "data_path": str(tmp_path)}
        values |= {"attribute_specs": {"age": {"field": "age", "bins": [30]}}, "attributes": ["gender"]}
        config = AIAConfig(
            model, "mine", config_dict={**values, **more, "load_col": {"inter": ["user_id", "item_id"]}}, argv=[]
        )
        training = training_split(config, create_dataset(config), config["seed"])
        trainer = UndefendedTrainer(config, build_model(config, training))
        trainer._save_checkpoint(0, verbose=False, saved_model_file=str(tmp_path / "small.pth"))
        return tmp_path / "small.pth"

    return build


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def cells(printed, start):
    """The cells of the printed line that starts with some words."""
    (line,) = [line for line in printed.splitlines() if line.lstrip("| ").split()[: len(start)] == start]
    return [cell.strip() for cell in line.strip("|").split("  ") if cell.strip()]


def tensors(folder):
    state = torch.load(Path(folder) / "checkpoint.pth", weights_only=True)
    return {**state["state_dict"], **{k: v for k, v in state["other_parameter"].items() if v is not None}}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_writes_a_checkpoint_vectors_results_and_a_ledger(base, capsys, tmp_path):
    before = base.read_bytes()
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--mode", "data_free", "--output_dir", "safe"]
    assert main(["unlearn", "--defense=attrcloak", *arguments, *QUICK]) == 0
    assert base.read_bytes() == before
    assert {path.name for path in Path("safe").iterdir()} == {
        "checkpoint.pth", "config.yaml", "embeddings.npz", "ledger.json", "results.json", "run.log"
    }  # fmt: skip
    assert "attrcloak: gender of 943 users" in Path("safe/run.log").read_text()
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
    begin(base, "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=QUICK)
    run = load_run("safe")
    arrays = np.load("safe/embeddings.npz", allow_pickle=False)
    assert torch.equal(run.model.user_embedding.weight[1:], torch.from_numpy(arrays["embeddings"]))
    assert arrays["user_tokens"].tolist() == run.dataset.field2id_token["user_id"][1:].tolist()
    assert run.config["defense"] == "attrcloak"


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


def test_what_was_unlearnt_in_the_base_stays_unlearnt(small):
    base = small("BPR")
    begin(base, "attrcloak", RequestOptions("[gender]"), Path("first"), argv=QUICK)
    results = begin(Path("first"), "attrcloak", RequestOptions("[age]"), Path("second"), argv=QUICK)
    earlier, now = results["unlearned"]
    assert (earlier["attributes"], now["attributes"]) == (["gender"], ["age"])
    assert set(now["divergence"]) == {"gender", "age"}
    assert set(results["worst_case"]) == {"gender", "age"}
    run = load_run("second")
    assert set(AttrCloakUnlearner(run.config, run.model).unlearn()["divergence"]) == {"gender", "age"}


def test_the_default_is_calibrated_and_every_defense_after_training_is_offered(base, capsys):
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--calibrated_steps=2", *PLAIN]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 0
    results = json.loads(Path("safe/results.json").read_text())
    assert (results["run"]["defense"], results["run"]["stage"]) == ("calibrated", "post")
    with pytest.raises(SystemExit):
        main(["unlearn", "--help"])
    shown = capsys.readouterr().out
    for name in unlearners():
        assert f"  {name} " in shown


@pytest.mark.parametrize("defense", sorted(unlearners()))
def test_every_defense_that_has_a_stage_after_training_unlearns(base, defense):
    steps = {"calibrated": ["--calibrated_steps=2"], "dp": [], "noise": []}.get(defense, ["--unlearn_max_steps=2"])
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", f"--defense={defense}", *PLAIN, *steps]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 0
    (record,) = json.loads(Path("safe/results.json").read_text())["unlearned"]
    assert (record["defense"], record["attributes"]) == (defense, ["gender"])


def test_the_bases_defense_leaves_no_settings_behind_and_arguments_win(small):
    base = small("BPR")
    state = torch.load(base, weights_only=True)
    old = {"defense": "u2u", "stage": "in", "preset": "paper", "target": "released", "output_dir": "run"}
    old |= {"unlearn_learning_rate": 0.0025, "unlearn_patience": 7, "init_checkpoint": "nowhere.pth"}
    torch.save({**state, "config": {**state["config"], **old}}, "old.pth")
    begin(Path("old.pth"), "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=[*QUICK, "--unlearn_patience=3"])
    config = load_run("safe").config
    found = {key: config[key] for key in ("unlearn_learning_rate", "unlearn_patience", "stage", "preset", "target")}
    assert found == {
        "unlearn_learning_rate": 0.005, "unlearn_patience": 3, "stage": "post", "preset": "default", "target": None
    }  # fmt: skip
    assert config["init_checkpoint"] is config["output_dir"] is None


def test_those_who_asked_for_an_attribute_and_those_who_did_not_are_shown_apart(base, capsys):
    begin(base, "attrcloak", RequestOptions("[gender]", "core:0.5"), Path("safe"), argv=QUICK)
    capsys.readouterr()
    add(Path("safe"), RequestOptions("[age]", "edge:0.25"))
    printed = capsys.readouterr().out
    results = json.loads(Path("safe/results.json").read_text())
    assert [record["users"] for record in results["unlearned"]] == [472, 236]
    for name, asked in (("gender", 472), ("age", 236)):
        everybody = {row["state"]: row for row in results["attacks"] if row["attribute"] == name}
        gains = [everybody[state]["metrics"]["advantage"] for state in ("undefended", "defended")]
        assert {row["n_users"] for row in everybody.values()} == {943}
        shown = [f"{gain['mean']:.3f} [{gain['ci95'][0]:.3f}, {gain['ci95'][1]:.3f}]" for gain in gains]
        assert cells(printed, [name, "logistic"])[3:5] == shown
        for users, number in (("asked", asked), ("did_not_ask", 943 - asked)):
            group = {
                row["state"]: row for row in results["groups"] if (row["attribute"], row["users"]) == (name, users)
            }
            gains = [f"{group[state]['advantage']:.3f}" for state in ("undefended", "defended")]
            assert cells(printed, [name, users])[3] == str(number) == str(group["defended"]["n_users"])
            assert cells(printed, [name, users])[5:] == gains


def test_few_who_ask_are_told_so(base, capsys):
    results = begin(base, "attrcloak", RequestOptions("[gender]", "random:0.02"), Path("safe"), argv=QUICK)
    assert "note: few who asked, gender F" in capsys.readouterr().out
    assert results["run"]["notes"][0].startswith("few who asked, gender F")
    assert {row["n_users"] for row in results["groups"] if row["users"] == "asked"} == {19}


def test_the_guarantee_of_dp_is_printed_and_its_noise_is_drawn_once(base, capsys):
    begin(base, "dp", RequestOptions("[gender]"), Path("safe"), argv=PLAIN)
    assert "guarantee: the vector of each of these users" in capsys.readouterr().out
    (note,) = json.loads(Path("safe/results.json").read_text())["run"]["notes"]
    assert note.startswith("guarantee: the vector")
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
        (["--list", "--users", "strangers.txt"], "--list makes none"),
        (["--withdraw", "1", "--users", "strangers.txt"], "--withdraw makes none"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--user=strangers.txt"], "Did you mean --users?"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--modes=data_free"], "Did you mean --mode?"),
        (["--withdraw", "1"], "there is no ledger"),
        (["--add", "--attributes=[age]", "--seed=1"], "keeps the settings"),
        (["--checkpoint", "BASE", "--attributes=[]"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=5"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=true"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=2020-01-01"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes={5: {bins: [3]}}"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes={age: 2020-01-01}"], "such as a date"),
        (["--checkpoint", "BASE", "--attributes={age: {2020-01-01: [3]}}"], "such as a date"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "empty.txt"], "nobody"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "edge:0.0001"], "nothing can be aligned"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--attack_views=[sreved]"], "Did you mean served"),
        (["--checkpoint", "BASE", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "nobody.txt"], "nobody.txt cannot be read"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "core:2"], "cannot be drawn"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "strangers.txt"], "'stranger' first"),
        (
            ["--checkpoint", "BASE", "--attributes=[gender]", "--defense", "raid"],
            "raid trains items and all users anew",
        ),
        (
            ["--checkpoint", "BASE", "--attributes=[gender]", "--defense", "u2u", "--mode", "data_free"],
            "--mode is for",
        ),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--seed=1"], "--seed is the trained model's own"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--holdout_users=0.2"], "--users says who asks"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--unlearn_maxsteps=3"], "Did you mean 'unlearn_max_steps'"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(base, arguments, message, capsys, tmp_path):
    Path("strangers.txt").write_text("1\nstranger\n")
    Path("empty.txt").write_text("\n")
    arguments = [str(base) if word == "BASE" else word for word in arguments]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("safe").exists()


def test_a_folder_that_holds_something_is_not_overwritten(base, capsys):
    Path("safe").mkdir()
    Path("safe/checkpoint.pth").write_text("precious")
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--output_dir", "safe"]
    assert main(["unlearn", *arguments]) == 2
    assert Path("safe/checkpoint.pth").read_text() == "precious"


def test_a_ledger_that_cannot_be_withdrawn_from_says_what_stands(small, capsys):
    base = small("BPR")
    begin(base, "attrcloak", RequestOptions("[gender]"), Path("safe"), argv=QUICK)
    assert main(["unlearn", "--output_dir", "safe", "--withdraw", "7"]) == 2
    assert "Those that stand: 1" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["null", "3", '"text"', "[]", "[[1, 2]]", "{}"])
def test_a_file_that_is_no_ledger_is_named_in_one_line(content, capsys):
    Path("safe").mkdir()
    Path("safe/ledger.json").write_text(content)
    assert main(["unlearn", "--output_dir", "safe", "--list"]) == 2
    assert "'safe/ledger.json' is not a ledger" in capsys.readouterr().err


def test_a_ledger_that_was_edited_is_refused_in_one_line(small, capsys):
    base = small("BPR")
    begin(base, "noise", RequestOptions("[gender]", "random:0.1"), Path("safe"), argv=PLAIN)
    ledger = json.loads(Path("safe/ledger.json").read_text())
    (entry,) = ledger["requests"]
    stranger = {**ledger, "requests": [{**entry, "users": ["stranger"]}]}
    Path("safe/ledger.json").write_text(json.dumps(stranger))
    assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
    assert "request 1 in ledger.json names 'stranger'" in capsys.readouterr().err
    for wrong in ({"users": [5]}, {"users": "abc"}, {"attributes": ["gender"]}, {"id": "1"}):
        Path("safe/ledger.json").write_text(json.dumps({**ledger, "requests": [{**entry, **wrong}]}))
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 2
        assert "is not a ledger" in capsys.readouterr().err


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


def test_what_was_hidden_earlier_does_not_block_a_request_for_something_else(caplog):
    labels = LabelTable(
        torch.tensor([[-1, -1], [0, 0], [1, 1], [1, 0], [0, 1]]), ("a", "b"), {"a": ["x", "y"], "b": ["x", "y"]}
    )
    history = [{"attributes": ["b"], "users": [1, 2]}]
    request = make_task(
        [Request(["a"], torch.tensor([1, 2, 3, 4]))], history, labels, "cpu", AttrCloakUnlearner.can_hide
    )
    assert request.names == ("a",)
    assert "b, hidden earlier, may come back" in caplog.text
    for again in ([{"attributes": ["b"], "users": [1, 3]}], [{"attributes": ["b"], "users": None}]):
        assert make_task([Request(["a"])], again, labels, "cpu", AttrCloakUnlearner.can_hide).names == ("a", "b")
    assert make_task([Request(["b"], torch.tensor([1, 2]))], [], labels, "cpu", AttrCloakUnlearner.can_hide).names == (
        "b",
    )


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


def test_what_the_attacker_sees_can_be_chosen(small):
    views = "--attack_views=[served,table,top_k,profile]"
    argv = [*PLAIN, views, "--target=table"]
    results = begin(small("LightGCN"), "noise", RequestOptions("[gender]", "random:0.5"), Path("safe"), argv=argv)
    seen = {(row["state"], row["view"]) for row in results["attacks"]}
    assert seen == {(state, view) for state in ("undefended", "defended") for view in ("served", "table", "top_k")} | {
        ("undefended", "profile")
    }
    assert {row["view"] for row in results["groups"]} == {"served", "table", "top_k"}
