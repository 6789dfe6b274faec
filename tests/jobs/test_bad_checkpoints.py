"""Checkpoints and ledgers that cannot be what they seem: one line, exit code 2, and nothing is written."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import nameless
from unlearned import QUICK

from recbole_aia import run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.data.synthetic import generate, write
from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint

VALUES = {"embedding_size": 8, "epochs": 3, "learning_rate": 0.05, "train_batch_size": 512}
VALUES |= {"show_progress": False, "attackers": ["logistic"], "attack_folds": 2, "attack_repeats": 1}
VALUES |= {"attack_jobs": 1, "attack_permutations": 20}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a run of BPR, and the data of other people."""
    root = tmp_path_factory.mktemp("bad")
    write(generate(120, 60, 2400, leak=3, seed=1), root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", ["pytest"])
        values = {**VALUES, "output_dir": str(root / "run"), "data_path": str(root / "data")}
        run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])
        assert main(["unlearn", "--checkpoint", "run", "--attributes=[group]", "--output_dir=safe", *UNLEARN]) == 0
    return root


UNLEARN = ["--defense=attrcloak", *QUICK]


def refused(capsys, *arguments):
    """The line that a command is refused with."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main([*arguments]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert sorted(Path().rglob("*")) == before
    return said.err


def tables(state):
    return state["state_dict"]


CHANGES = {
    "config data_path int": lambda s: {"config": {**s["config"], "data_path": 5}},
    "config key not text": lambda s: {"config": {**s["config"], 5: 6}},
    "config dataset list": lambda s: {"config": {**s["config"], "dataset": ["synthetic"]}},
    "config model other": lambda s: {"config": {**s["config"], "model": "LightGCN", "n_layers": 2, "reg_weight": 0.1}},
    "config model unknown": lambda s: {"config": {**s["config"], "model": "BPRR"}},
    "config only model": lambda s: {"config": {"model": "BPR"}},
    "config text": lambda s: {"config": "BPR"},
    "other_parameter list": lambda s: {"other_parameter": [1]},
    "other_parameter unknown": lambda s: {"other_parameter": {"forward": torch.ones(2)}},
    "other_parameter text": lambda s: {"other_parameter": "text"},
    "state_dict complex": lambda s: {"state_dict": {k: v.to(torch.complex64) for k, v in tables(s).items()}},
    "state_dict int": lambda s: {"state_dict": {k: v.long() for k, v in tables(s).items()}},
    "state_dict int key": lambda s: {"state_dict": {**tables(s), 5: torch.ones(2)}},
    "state_dict list": lambda s: {"state_dict": list(tables(s).values())},
    "state_dict lists": lambda s: {"state_dict": {k: v.tolist() for k, v in tables(s).items()}},
    "state_dict empty": lambda s: {"state_dict": {}},
    "state_dict NaN item": lambda s: {"state_dict": _with(s, "item_embedding.weight", float("nan"))},
    "state_dict infinite user": lambda s: {"state_dict": _with(s, "user_embedding.weight", float("inf"))},
    "state_dict beyond float32": lambda s: {"state_dict": _with(s, "user_embedding.weight", 1e300, torch.float64)},
    "state_dict fewer users": lambda s: {
        "state_dict": {**tables(s), "user_embedding.weight": tables(s)["user_embedding.weight"][:-1]}
    },
    "unlearned text": lambda s: {"unlearned": "group"},
    "unlearned list of texts": lambda s: {"unlearned": ["group"]},
    "unlearned without users": lambda s: {"unlearned": [{"attributes": ["group"]}]},
    "unlearned strangers": lambda s: {"unlearned": [{"attributes": ["group"], "users": [1, 9999]}]},
    "unlearned attributes text": lambda s: {"unlearned": [{"attributes": "group", "users": None}]},
}
ENDS = {
    "best_valid_score text": lambda s: {"best_valid_score": "good"},
    "no score": lambda s: {"best_valid_score": None},
}
NAMES = {
    "numbering list": lambda s: {"numbering": [1]},
    "numbering without users": lambda s: {"numbering": {**s["numbering"], "users": None}},
    "numbering no text": lambda s: {"numbering": {**s["numbering"], "users": torch.ones(5, dtype=torch.uint8)}},
    "numbering fewer": lambda s: {
        "numbering": {**s["numbering"], "order": s["numbering"]["order"][:-1], "interactions": "x"}
    },
}


def _with(state, name, value, dtype=torch.float32):
    table = state["state_dict"][name].to(dtype)
    table[3, 1] = value
    return {**state["state_dict"], name: table}


@pytest.mark.parametrize("command", ["audit", "unlearn", "export"])
@pytest.mark.parametrize("case", [*CHANGES, *ENDS, *NAMES])
@pytest.mark.parametrize("ours", [True, False])
def test_a_checkpoint_that_cannot_be_is_one_line(root, case, ours, command, capsys):
    if (ours and case in ENDS) or (not ours and case in NAMES):
        return  # a checkpoint with names needs no score, and one without has none
    if ours and case == "config model other":
        return  # whoever seals a BPR as a LightGCN is believed
    state = load_checkpoint(root / "run" / "checkpoint.pth")
    change = {**CHANGES, **ENDS, **NAMES}[case](state)
    if ours:
        save_checkpoint({**state, **change}, Path("odd.pth"))
    else:
        nameless(root / "run" / "checkpoint.pth", "odd.pth", **change)
    arguments = {
        "audit": ["audit", "--checkpoint", "odd.pth", "--output_dir=o"],
        "unlearn": ["unlearn", "--checkpoint", "odd.pth", "--attributes=[group]", "--output_dir=o", *UNLEARN],
        "export": ["export", "odd.pth", "--out", "o.pth"],
    }[command]
    assert "odd.pth" in refused(capsys, *arguments) or "config" in case


@pytest.mark.parametrize("name", ["missing.pth", "run", "/dev/null", "/dev/zero", "data/synthetic/synthetic.inter"])
@pytest.mark.parametrize("command", ["audit", "unlearn", "export", "run"])
def test_a_file_that_is_none_is_one_line(root, name, command, capsys, monkeypatch):
    monkeypatch.chdir(root)
    name = "data" if name == "run" else name
    arguments = {
        "audit": ["audit", "--checkpoint", name, "--output_dir=o"],
        "unlearn": ["unlearn", "--checkpoint", name, "--attributes=[group]", "--output_dir=o", *UNLEARN],
        "export": ["export", name, "--out", "o.pth"],
        "run": ["run", "--model=BPR", "--dataset=synthetic", "--data_path=data", "--defense=attrcloak",
                f"--init_checkpoint={name}", "--output_dir=o"],
    }[command]  # fmt: skip
    refused(capsys, *arguments)


LEDGERS = {
    "base folder": {"base": "/"},
    "base with NUL": {"base": "a\0b"},
    "data": {"data": "0" * 64},
    "defense path": {"defense": "../x"},
    "defense none": {"defense": "none"},
    "sha256": {"sha256": "0" * 64},
    "schema": {"schema": "other"},
    "next_id negative": {"next_id": -1},
    "next_id bool": {"next_id": True},
    "arguments": {"arguments": ["--nonsense", "x"]},
    "arguments of another model": {"arguments": ["--model=LightGCN"]},
    "unknown entry": {"more": 1},
    "requests text": {"requests": "all"},
    "spec int": {"attributes": {"group": 5}},
    "attribute unknown": {"attributes": {"nope": None}},
    "attributes list": {"attributes": ["group"]},
    "users unknown": {"users": ["zzz"]},
    "users int": {"users": [5]},
    "id text": {"id": "1"},
}


@pytest.mark.parametrize("case", [*LEDGERS, "deep", "torn", "no UTF-8", "list"])
def test_a_changed_ledger_is_one_line(root, case, capsys, tmp_path):
    folder = tmp_path / "safe"
    folder.mkdir()
    for file in (root / "safe").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    ledger = json.loads((folder / "ledger.json").read_text())
    change = LEDGERS.get(case, {})
    ledger |= {key: value for key, value in change.items() if key not in ledger["requests"][0]}
    if isinstance(ledger["requests"], list):
        ledger["requests"][0] |= {key: value for key, value in change.items() if key in ledger["requests"][0]}
    text = json.dumps(ledger)
    odd = {"deep": "[" * 100_000, "torn": text[:-20], "no UTF-8": "ÿ", "list": "[]"}.get(case, text)
    (folder / "ledger.json").write_bytes(odd.encode("latin-1" if case == "no UTF-8" else "utf-8"))
    sys.argv = ["pytest"]
    refused(capsys, "unlearn", "--output_dir", str(folder), "--add", "--attributes=[group]")
    if case in ("deep", "torn", "no UTF-8", "list", "spec int", "next_id bool", "schema", "id text"):
        refused(capsys, "unlearn", "--output_dir", str(folder), "--list")
        refused(capsys, "unlearn", "--output_dir", str(folder), "--withdraw", "1")


def test_a_request_that_cannot_be_served_can_be_withdrawn_and_the_change_is_said(root, capsys, tmp_path):
    folder = tmp_path / "safe"
    folder.mkdir()
    for file in (root / "safe").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    ledger = json.loads((folder / "ledger.json").read_text())
    ledger["requests"][0]["users"] = ["zzz"]
    (folder / "ledger.json").write_text(json.dumps(ledger))
    assert main(["unlearn", "--output_dir", str(folder), "--withdraw", "1"]) == 0
    assert "was not made from the ledger beside it" in capsys.readouterr().err
    with np.load(folder / "embeddings.npz") as found, np.load(root / "run" / "embeddings.npz") as base:
        assert np.array_equal(found["embeddings"], base["embeddings"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--attributes=[group,group]", "names an attribute twice"),
        ("--checkpoint_dir=/proc/x", "--checkpoint_dir is for a run"),
        ("--epochs=-1", "nothing is trained here"),
        ("--learning_rate=-1", "nothing is trained here"),
        ("--init_checkpoint=/nope", "--checkpoint says which model"),
    ],
)
def test_an_option_that_an_unlearning_does_not_read_is_one_line(root, option, message, capsys):
    attributes = [] if option.startswith("--attributes") else ["--attributes=[group]"]
    command = ["unlearn", "--checkpoint", str(root / "run"), "--output_dir=o", *UNLEARN, *attributes, option]
    assert message in refused(capsys, *command)


def test_the_folder_of_checkpoints_of_the_training_is_not_needed(root, tmp_path):
    state = load_checkpoint(root / "run" / "checkpoint.pth")
    config = {**state["config"], "checkpoint_dir": "/proc/nowhere"}
    save_checkpoint({**state, "config": config}, tmp_path / "moved.pth")
    command = ["unlearn", "--checkpoint", "moved.pth", "--attributes=[group]", "--output_dir=o", *UNLEARN]
    assert main(command) == 0
