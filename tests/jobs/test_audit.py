"""Audits of runs and checkpoints, from the command line, on real data."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from audited import USERS, audit, gains, results
from foreign import nameless

from recbole_aia import AIAConfig, UserEmbeddingView, load_run
from recbole_aia.cli import main
from recbole_aia.errors import CheckpointError
from recbole_aia.storage.checkpoints import save_checkpoint


class TestRunFolder:
    def test_it_finds_what_the_run_itself_found(self, bpr):
        assert audit(bpr, "--output_dir=out") == 0
        found = results()
        assert gains(found) == gains(results(bpr))
        assert found["run"]["model"] == "BPR"
        assert found["data"]["attributes"]["gender"] == {"classes": {"F": 273, "M": 670}, "missing": 0}

    def test_served_and_table_are_attacked_apart_where_they_differ(self, lightgcn, bpr, capsys):
        assert audit(lightgcn, "--attributes=[gender]", "--output_dir=out") == 0
        found = results()
        assert {row["view"] for row in found["attacks"]} == {"served", "table"}
        worst = found["worst_case"]["gender"]["undefended"]
        assert worst["advantage"] == max(gains(found, view)["gender"] for view in ("served", "table"))
        assert worst["advantage"] == gains(found, worst["view"])["gender"]
        capsys.readouterr()
        assert audit(bpr, "--attributes=[gender]") == 0
        assert "the same as served" in capsys.readouterr().out

    def test_its_state_is_the_one_its_configuration_names(self, bpr, tmp_path):
        shutil.copytree(bpr, tmp_path / "copy")
        config = tmp_path / "copy" / "config.yaml"
        config.write_text(config.read_text().replace("defense: none", "defense: raid"))
        assert audit(tmp_path / "copy", "--output_dir=out") == 0
        assert {row["state"] for row in results()["attacks"]} == {"defended"}

    def test_results_go_to_a_folder_under_runs_that_names_what_was_audited(self, bpr, tmp_path):
        assert audit(bpr) == 0
        (folder,) = (tmp_path / "runs").iterdir()
        assert folder.name.startswith("audit-run-")
        assert sorted(file.name for file in folder.iterdir()) == ["report.html", "results.json", "users.csv"]

    def test_who_leaks_is_told_by_user_and_by_activity_as_the_run_told_it(self, bpr):
        assert audit(bpr, "--output_dir=out") == 0
        assert results()["who_leaks"] == results(bpr)["who_leaks"]
        for found in results()["who_leaks"]:
            assert sum(group["n_users"] for group in found["groups"]) == 943
            least, _, most = found["groups"]
            assert least["interactions"][1] < most["interactions"][0]
        theirs, ours = (pd.read_csv(folder / "users.csv", dtype={"user": str}) for folder in (bpr, Path("out")))
        pd.testing.assert_frame_equal(theirs, ours)
        gender = ours[ours["attribute"] == "gender"].set_index("user")["class"]
        assert (
            gender.to_dict()
            == pd.read_csv(USERS, sep="\t", dtype=str).set_index("user_id:token")["gender:token"].to_dict()
        )

    def test_who_leaks_by_activity_is_told_of_a_folder_of_0_1_0_and_not_of_one_without_activity(self, bpr, tmp_path):
        shutil.copytree(bpr, tmp_path / "copy")
        (tmp_path / "copy" / "activity.csv").unlink()
        assert audit(tmp_path / "copy", "--output_dir=without") == 0
        assert all("groups" not in found for found in results("without")["who_leaks"])
        activity = pd.read_csv(bpr / "activity.csv", dtype={"user": str})
        with np.load(bpr / "embeddings.npz") as loaded:
            assert loaded["user_tokens"].tolist() == activity["user"].tolist()
            np.savez(tmp_path / "copy" / "embeddings.npz", **loaded, interactions=activity["interactions"].to_numpy())
        assert audit(tmp_path / "copy", "--output_dir=old") == 0
        assert results("old")["who_leaks"] == results(bpr)["who_leaks"]

    def test_an_audit_may_be_repeated_but_overwrites_nothing_else(self, bpr, capsys):
        assert audit(bpr, "--output_dir=out") == audit(bpr, "--output_dir=out", "--seed=1") == 0
        before = (bpr / "results.json").read_bytes()
        assert audit(bpr, f"--output_dir={bpr}") == 2
        assert "holds another run's results.json" in capsys.readouterr().err
        assert (bpr / "results.json").read_bytes() == before


class TestViews:
    @pytest.mark.parametrize("way", ["run", "checkpoint"])
    def test_any_view_of_a_run_or_a_checkpoint_is_attacked_and_none_other(self, lightgcn, way, capsys):
        what = [lightgcn] if way == "run" else ["--checkpoint", lightgcn / "checkpoint.pth"]
        asked = ["--attack_views=[profile,scores,both]", "--attributes=[gender]"]
        assert audit(*what, *asked, "--output_dir=out", "--fail_above=0.99") == 0
        found = results()
        assert [row["view"] for row in found["attacks"]] == ["both", "scores", "profile"]
        assert found["audit"]["kind"] == way
        assert found["worst_case"]["gender"]["undefended"]["view"] in ("both", "scores")
        assert "ceiling for gender" in capsys.readouterr().out

    def test_a_profile_does_not_close_the_gate(self, bpr, capsys):
        asked = ["--attack_views=[served,profile]", "--attributes=[gender]", "--output_dir=out"]
        assert audit(bpr, *asked) == 0
        found = results()
        limit = gains(found)["gender"] + 1e-6
        assert gains(found, "profile")["gender"] > limit
        assert audit(bpr, *asked, f"--fail_above={limit}") == 0
        gate = f"--fail_above={limit - 1e-5}", "--junit=g.xml", "--sarif=g.sarif"
        assert audit(bpr, *asked, *gate) == 1
        assert 'failures="1"' in Path("g.xml").read_text(encoding="utf-8")
        assert len(json.loads(Path("g.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]) == 1
        assert audit(bpr, *asked, "--junit=no.xml") == 2
        assert not Path("no.xml").exists()
        assert " on served)" in capsys.readouterr().err

    def test_lists_that_were_asked_for_count_and_stand_beside_their_mask(self, bpr, capsys):
        asked = ["--attack_views=[top_k,top_k_unmasked,top_k_popular]", "--attributes=[gender]", "--output_dir=out"]
        assert audit(bpr, *asked) == 0
        found = results()
        assert found["worst_case"]["gender"]["undefended"]["view"] in ("top_k", "top_k_unmasked")
        assert set(found["lists"]["gender"]) == {"undefended", "mask"}
        assert "the mask of seen items alone gives" in capsys.readouterr().out

    def test_vectors_side_by_side_need_no_model(self, lightgcn, tmp_path):
        shutil.copytree(lightgcn, tmp_path / "copy")
        (tmp_path / "copy" / "checkpoint.pth").unlink()
        asked = ["--attack_views=[served,both]", "--attributes=[gender]"]
        assert audit(tmp_path / "copy", *asked, "--output_dir=out") == 0
        assert audit("--embeddings", lightgcn / "embeddings.npz", "--labels", USERS, *asked, "--output_dir=file") == 0
        assert {row["view"] for row in results()["attacks"]} == {"served", "both"}
        for view in ("served", "both"):
            assert gains(results(), view) == gains(results("file"), view)

    def test_a_run_without_its_checkpoint_says_so(self, lightgcn, tmp_path, capsys):
        shutil.copytree(lightgcn, tmp_path / "copy")
        (tmp_path / "copy" / "checkpoint.pth").unlink()
        assert audit(tmp_path / "copy", "--attack_views=top_k") == 2
        assert "checkpoint.pth' cannot be read" in capsys.readouterr().err


class TestCheckpoint:
    def test_both_views_come_back_as_they_were_trained(self, lightgcn):
        run = load_run(lightgcn)
        view = UserEmbeddingView(run.model)
        with np.load(lightgcn / "embeddings.npz") as loaded:
            np.testing.assert_allclose(view.served().detach(), loaded["embeddings"], atol=1e-6)
            np.testing.assert_array_equal(view.table().detach(), loaded["table"])
        assert not run.model.training
        assert run.config["model"] == "LightGCN"
        assert run.dataset.user_num == 944

    def test_it_is_audited_as_its_run_is(self, lightgcn):
        assert audit("--checkpoint", lightgcn / "checkpoint.pth", "--output_dir=out") == 0
        assert audit(lightgcn, "--output_dir=run") == 0
        for view in ("served", "table"):
            assert gains(results(), view) == pytest.approx(gains(results("run"), view), abs=1e-3)
        assert results()["data"]["n_items"] == 1682

    def test_a_pickle_of_recbole_is_loaded_only_when_it_is_trusted(self, bpr, tmp_path, capsys):
        stock = _pickled(bpr, tmp_path)
        assert audit("--checkpoint", stock) == 2
        error = capsys.readouterr().err
        assert "can run any code" in error
        assert "--trust_checkpoint" in error
        assert error.count("\n") == 1
        assert audit("--checkpoint", stock, "--trust_checkpoint", "--output_dir=out") == 0
        assert gains(results()) == gains(results(bpr))

    def test_one_of_another_dataset_or_without_a_configuration_is_refused(self, bpr, tmp_path):
        state = torch.load(bpr / "checkpoint.pth", weights_only=True)
        table = state["state_dict"]["user_embedding.weight"]
        small = {**state, "state_dict": {**state["state_dict"], "user_embedding.weight": table[:-1]}}
        save_checkpoint(small, Path("small.pth"))
        with pytest.raises(CheckpointError, match="does not fit this BPR"):
            load_run("small.pth")
        torch.save({"state_dict": state["state_dict"]}, "bare.pth")
        with pytest.raises(CheckpointError, match="does not say which configuration"):
            load_run("bare.pth")

    def test_released_users_of_dmf_come_back(self, make_config, ml100k, split_ml100k):
        from recbole.trainer import Trainer

        from recbole_aia.compat import save_plain_checkpoint
        from recbole_aia.model import build_model

        config = make_config("DMF")
        model = build_model(config, split_ml100k[0].dataset)
        UserEmbeddingView(model).write(torch.ones(943, 64))
        trainer = Trainer(config, model)
        trainer.cur_step, trainer.best_valid_score = 0, 0.0
        save_plain_checkpoint(trainer, 0, verbose=False, saved_model_file="released.pth")
        assert (UserEmbeddingView(load_run("released.pth").model).served() == 1).all()


def _pickled(run, folder):
    """The run's model as stock RecBole saves it: with a pickled Config."""
    from recbole.config import Config

    values = {"show_progress": False, "topk": [10], "valid_metric": "NDCG@10", "metrics": ["NDCG"]}
    values["eval_args"] = load_run(run).config["eval_args"]
    return nameless(run / "checkpoint.pth", folder / "stock.pth", config=Config("BPR", "ml-100k", config_dict=values))


class TestNothingIsLost:
    def test_the_users_own_file_of_that_name_is_not_overwritten(self, arrays, capsys):
        Path("users.csv").write_text("user,gender\n" + "".join(f"{t},{'FM'[i % 2]}\n" for i, t in enumerate(arrays[0])))
        before = Path("users.csv").read_bytes()
        np.savez("e.npz", user_tokens=arrays[0], embeddings=arrays[1])
        assert audit("--embeddings=e.npz", "--labels=users.csv", "--output_dir=.") == 2
        assert "holds another run's users.csv" in capsys.readouterr().err
        assert Path("users.csv").read_bytes() == before
        assert not Path("results.json").exists()

    def test_the_same_audit_is_the_same_by_another_path(self, bpr):
        assert audit(bpr, "--output_dir=out") == 0
        assert audit(os.path.relpath(bpr), "--output_dir=out") == 0

    def test_a_failure_of_ours_is_no_verdict(self, bpr, monkeypatch, capsys):
        monkeypatch.setattr("recbole_aia.jobs.audit.audit", lambda *arguments: 1 / 0)
        assert audit(bpr, "--fail_above=0.1") == 3
        assert "Please report" in capsys.readouterr().err


def test_a_run_whose_data_have_gone_says_where_they_were(bpr, tmp_path, capsys):
    shutil.copytree(bpr, tmp_path / "copy")
    config = tmp_path / "copy" / "config.yaml"
    config.write_text(config.read_text().replace("dataset: ml-100k", "dataset: gone"))
    assert audit(tmp_path / "copy") == 2
    assert "gone.user" in capsys.readouterr().err


def test_a_configuration_is_rebuilt_as_it_was(bpr):
    written = AIAConfig(config_file_list=[bpr / "config.yaml"], argv=[])
    assert load_run(bpr).config.final_config_dict == written.final_config_dict


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    printed = capsys.readouterr().out
    assert "--attack_views=[served,top_k,scores,profile]" in printed
    for word in ("--embeddings users.npy --labels users.csv", "advantage", "floor", "exit code", "pyarrow", "usage"):
        assert word in printed
