"""Unlearning on a trained checkpoint: what it writes, prints and takes over."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from unlearned import PLAIN, QUICK, same, tensors

from recbole_aia import AttrCloakUnlearner, load_run
from recbole_aia.cli import main
from recbole_aia.errors import ConfigValueError
from recbole_aia.jobs.unlearn import RequestOptions, add, begin
from recbole_aia.report import results_schema
from recbole_aia.storage.checkpoints import save_checkpoint
from recbole_aia.trainer import unlearners


def cells(printed, start):
    """The cells of the printed line that starts with some words."""
    (line,) = [line for line in printed.splitlines() if line.lstrip("| ").split()[: len(start)] == start]
    return [cell.strip() for cell in line.strip("|").split("  ") if cell.strip()]


def test_the_command_writes_a_checkpoint_vectors_results_and_a_ledger(base, capsys, tmp_path):
    before = base.read_bytes()
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--mode", "data_free", "--output_dir", "safe"]
    assert main(["unlearn", "--defense=attrcloak", *arguments, *QUICK]) == 0
    assert base.read_bytes() == before
    assert {path.name for path in Path("safe").iterdir()} == {
        "activity.csv", "checkpoint.pth", "config.yaml", "embeddings.npz", "ledger.json", "report.html", "results.json",
        "run.log",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in Path("safe").iterdir()} == {0o600}
    assert Path("safe").stat().st_mode & 0o777 == 0o700
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
    assert results["informed"]["attributes"].keys() == {"gender"}
    with pytest.raises(SystemExit):
        main(["unlearn", "--help"])
    shown = capsys.readouterr().out
    for name in unlearners():
        assert f"  {name} " in shown


@pytest.mark.parametrize("defense", sorted(unlearners()))
def test_every_defense_that_has_a_stage_after_training_unlearns(base, defense):
    steps = {"calibrated": ["--calibrated_steps=2"], "dp": [], "leace": [], "noise": []}.get(
        defense, ["--unlearn_max_steps=2"]
    )
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", f"--defense={defense}", *PLAIN, *steps]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 0
    (record,) = json.loads(Path("safe/results.json").read_text())["unlearned"]
    assert (record["defense"], record["attributes"]) == (defense, ["gender"])


def test_the_bases_defense_leaves_no_settings_behind_and_arguments_win(small):
    base = small("BPR")
    state = torch.load(base, weights_only=True)
    old = {"defense": "u2u", "stage": "in", "preset": "paper", "target": "released", "output_dir": "run"}
    old |= {"unlearn_learning_rate": 0.0025, "unlearn_patience": 7, "init_checkpoint": "nowhere.pth"}
    save_checkpoint({**state, "config": {**state["config"], **old}}, Path("old.pth"))
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
    views = results["four_views"]
    assert views["completeness"].keys() == {"gender", "age"}
    assert views["utility"]["ndcg@10"]["defended"].keys() == {"asked", "did_not_ask", "all"}
    assert views["efficiency"]["training"] > 0
    assert "completeness, gender of those who asked: undefended" in printed
    for name, asked in (("gender", 472), ("age", 236)):
        # Old and new vectors are compared among those who have moved.
        assert {row["n_users"] for row in results["informed"]["rows"] if row["attribute"] == name} == {asked}
        served = [row for row in results["attacks"] if row["view"] == "served"]
        everybody = {row["state"]: row for row in served if row["attribute"] == name}
        gains = [everybody[state]["metrics"]["advantage"] for state in ("undefended", "defended")]
        assert {row["n_users"] for row in everybody.values()} == {943}
        shown = [f"{gain['mean']:.3f} [{gain['ci95'][0]:.3f}, {gain['ci95'][1]:.3f}]" for gain in gains]
        assert cells(printed, [name, "served", "logistic"])[4:6] == shown
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


def test_a_class_of_fewer_than_five_who_ask_is_shown_without_its_count(base, capsys):
    results = begin(base, "attrcloak", RequestOptions("[gender]", "random:0.01"), Path("safe"), argv=QUICK)
    (note,) = [note for note in results["run"]["notes"] if note.startswith("few who asked")]
    assert "<5" in note
    assert not re.search(r"gender F [0-4]\b|M [0-4]\b", note)
    assert note in capsys.readouterr().out


def test_the_guarantee_of_dp_is_printed_and_its_noise_is_drawn_once(base, capsys):
    begin(base, "dp", RequestOptions("[gender]"), Path("safe"), argv=PLAIN)
    assert "guarantee: the vector of each of these users" in capsys.readouterr().out
    (note,) = json.loads(Path("safe/results.json").read_text())["run"]["notes"]
    assert note.startswith("guarantee: the vector")
    assert main(["unlearn", "--output_dir", "safe", "--add", "--attributes=[age]"]) == 2
    assert "fresh noise" in capsys.readouterr().err


def test_what_the_attacker_sees_can_be_chosen(small):
    views = "--attack_views=[served,table,top_k,profile]"
    argv = [*PLAIN, views, "--target=table"]
    results = begin(small("LightGCN"), "noise", RequestOptions("[gender]", "random:0.5"), Path("safe"), argv=argv)
    seen = {(row["state"], row["view"]) for row in results["attacks"]}
    assert seen == {(state, view) for state in ("undefended", "defended") for view in ("served", "table", "top_k")} | {
        ("undefended", "profile")
    }
    assert {row["view"] for row in results["groups"]} == {"served", "table", "top_k"}


def test_the_device_is_chosen_each_time_and_the_ledger_does_not_keep_it(base):
    begin(base, "noise", RequestOptions("[gender]", device="cpu"), Path("safe"), argv=PLAIN)
    assert json.loads(Path("safe/results.json").read_text())["run"]["device"] == "cpu"
    assert "device" not in Path("safe/ledger.json").read_text()
    with pytest.raises(ConfigValueError, match="device is 'tpu'"):
        add(Path("safe"), RequestOptions("[age]", device="tpu"))
