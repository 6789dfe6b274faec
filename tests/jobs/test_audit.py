"""Audits of what is already there, from the command line, on real data."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import recbole
import torch

from recbole_aia import AIAConfig, UserEmbeddingView, load_run, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.errors import CheckpointError
from recbole_aia.report import results_schema

USERS = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.user"
QUICK = ["--attackers=[logistic]", "--attack_folds=3", "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False"]


def audit(*arguments):
    return main(["audit", *map(str, arguments), *QUICK])


def results(folder="out"):
    found = json.loads((Path(folder) / "results.json").read_text())
    jsonschema.validate(found, results_schema())
    return found


def gains(found, view="served"):
    rows = [row for row in found["attacks"] if row["view"] == view]
    return {row["attribute"]: row["metrics"]["advantage"]["mean"] for row in rows}


def _trained(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["pytest"])
        values = {"epochs": 1, "gpu_id": "", "show_progress": False, "output_dir": str(folder / "run")}
        values |= {"attackers": ["logistic"], "attack_folds": 3, "attack_repeats": 1, "attack_jobs": 1}
        run_recbole_aia(model, "ml-100k", config_dict=values, argv=[])
    return folder / "run"


@pytest.fixture(scope="module")
def bpr(tmp_path_factory):
    """The folder of a run whose served vectors are its table."""
    return _trained(tmp_path_factory, "BPR")


@pytest.fixture(scope="module")
def lightgcn(tmp_path_factory):
    """The folder of a run whose served vectors are not its table."""
    return _trained(tmp_path_factory, "LightGCN")


@pytest.fixture
def arrays(bpr):
    with np.load(bpr / "embeddings.npz") as loaded:
        return loaded["user_tokens"], loaded["embeddings"]


def _aligned(tokens):
    """RecBole's user file in the order of the tokens."""
    return pd.read_csv(USERS, sep="\t", dtype=str).set_index("user_id:token").loc[list(tokens)].reset_index()


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
        assert sorted(file.name for file in folder.iterdir()) == ["results.json", "users.csv"]

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
        assert audit(bpr, *asked, f"--fail_above={limit - 1e-5}") == 1
        assert " on served)" in capsys.readouterr().err

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
        torch.save({**state, "state_dict": {**state["state_dict"], "user_embedding.weight": table[:-1]}}, "small.pth")
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

    state = torch.load(run / "checkpoint.pth", weights_only=True)
    config = Config("BPR", "ml-100k", config_dict={"gpu_id": "", "show_progress": False})
    torch.save({**state, "config": config}, folder / "stock.pth")
    return folder / "stock.pth"


class TestEmbeddings:
    def test_our_own_file_works_with_recboles_user_file_as_it_is(self, bpr, capsys):
        age = "{gender: , age: {bins: [35, 46], names: ['<35', 35-45, '>45']}}"
        assert (
            audit("--embeddings", bpr / "embeddings.npz", "--labels", USERS, f"--attributes={age}", "--output_dir=out")
            == 0
        )
        found = results()
        assert gains(found) == gains(results(bpr))
        assert found["audit"]["kind"] == "embeddings"
        assert found["audit"]["absent"] == 0
        assert "no defense is known of" in capsys.readouterr().out

    def test_every_format_gives_the_same_answer(self, arrays):
        tokens, embeddings = arrays
        columns = {f"d{i}": embeddings[:, i] for i in range(embeddings.shape[1])}
        np.savez("plain.npz", user_tokens=tokens, embeddings=embeddings)
        np.save("rows.npy", embeddings)
        np.savez("rows.npz", users=embeddings)
        np.savetxt("rows.csv", embeddings, delimiter=",")
        pd.DataFrame({"userId": tokens, **columns}).to_csv("named.csv", index=False)
        pd.DataFrame({"who": [f"u{t}" for t in tokens], **columns}).to_csv("first.tsv", index=False, sep="\t")
        _aligned(tokens).to_csv("labels.csv", index=False)
        who = _aligned(tokens).rename(columns={"user_id:token": "who"})
        who.assign(who="u" + who["who"]).sample(frac=1, random_state=0).to_csv("who.csv", index=False, sep=";")
        answers = []
        for file in ("plain.npz", "rows.npy", "rows.npz", "rows.csv", "named.csv", "first.tsv"):
            labels = "who.csv" if file == "first.tsv" else "labels.csv"
            assert (
                audit("--embeddings", file, "--labels", labels, "--attributes", "[gender]", f"--output_dir={file}.d")
                == 0
            )
            answers.append(gains(results(f"{file}.d"), "served" if file == "plain.npz" else "given")["gender"])
        assert answers == pytest.approx([answers[0]] * len(answers), abs=1e-3)

    def test_parquet_works_where_pyarrow_is_and_else_says_what_to_install(self, arrays, capsys):
        tokens, embeddings = arrays
        frame = pd.DataFrame({"user": tokens, "vector": list(embeddings)})
        try:
            frame.to_parquet("users.parquet")
        except ImportError:
            Path("users.parquet").write_bytes(b"PAR1")
            assert audit("--embeddings=users.parquet", "--labels", USERS) == 2
            assert "pip install pyarrow" in capsys.readouterr().err
            return
        assert audit("--embeddings=users.parquet", "--labels", USERS, "--attributes=[gender]", "--output_dir=out") == 0
        frame[["user"]].join(pd.DataFrame(embeddings).add_prefix("d")).to_parquet("users.parquet")
        assert audit("--embeddings=users.parquet", "--labels", USERS, "--attributes=[gender]", "--output_dir=wide") == 0
        assert gains(results(), "given") == gains(results("wide"), "given")

    def test_users_of_only_one_file_are_counted_and_said(self, arrays, capsys):
        tokens, embeddings = arrays
        np.savez("some.npz", user_tokens=tokens[:600], embeddings=embeddings[:600])
        _aligned(tokens[100:]).to_csv("labels.csv", index=False)
        assert audit("--embeddings=some.npz", "--labels=labels.csv", "--attributes=[gender]", "--output_dir=out") == 0
        found, printed = results(), capsys.readouterr().out
        assert found["data"]["attributes"]["gender"]["missing"] == 100
        assert found["audit"]["absent"] == 343
        assert found["attacks"][0]["n_users"] == 500
        assert "343 of its users have no embedding" in printed
        assert "100 users without a label, not attacked" in printed

    def test_without_attributes_all_that_can_be_attacked_is_and_the_rest_is_said(self, bpr, capsys):
        arguments = ["--embeddings", bpr / "embeddings.npz", "--labels", USERS]
        assert audit(*arguments, "--output_dir=out") == 0
        assert results()["run"]["attributes"] == ["gender", "occupation"]
        assert (
            "zip_code is not audited: attribute 'zip_code' of ml-100k.user has 795 classes" in capsys.readouterr().out
        )
        assert audit(*arguments, "--fail_above=0.9") == 2
        assert "name what the gate guards" in capsys.readouterr().err

    def test_a_yaml_file_defines_attributes_and_settings(self, bpr):
        text = "attribute_specs: {sex: {field: gender}}\nattack_permutations: 20\nraid_eta: 2\n"
        Path("my.yaml").write_text(text)
        arguments = ["--embeddings", bpr / "embeddings.npz", "--labels", USERS, "--config_files", "my.yaml"]
        assert audit(*arguments, "--output_dir=out") == 0
        assert gains(results()).keys() == {"sex"}

    def test_an_attribute_too_rare_for_the_folds_is_said_and_the_others_are_audited(self, bpr, capsys):
        lines = (f"{i},{'FM'[i % 2]},{'yes' if i < 8 else 'no'}\n" for i in range(1, 944))
        Path("rare.csv").write_text("user,gender,vip\n" + "".join(lines))
        settings = [setting.replace("folds=3", "folds=10") for setting in QUICK]
        arguments = ["audit", f"--embeddings={bpr / 'embeddings.npz'}", "--labels=rare.csv", *settings]
        assert main([*arguments, "--output_dir=out"]) == 0
        assert "vip is not audited: attribute 'vip' has 1 of 2 classes" in capsys.readouterr().out
        assert results()["worst_case"].keys() == {"gender"}
        assert any("vip is not audited" in note for note in results()["audit"]["notes"])
        assert main([*arguments, "--fail_above=0.99"]) == 2
        assert "vip cannot be" in capsys.readouterr().err


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
        assert audit(Path("..") / bpr.relative_to(Path.cwd().parent), "--output_dir=out") == 0

    def test_a_failure_of_ours_is_no_verdict(self, bpr, monkeypatch, capsys):
        monkeypatch.setattr("recbole_aia.jobs.audit.audit", lambda *arguments: 1 / 0)
        assert audit(bpr, "--fail_above=0.1") == 3
        assert "Please report" in capsys.readouterr().err


class TestGate:
    @pytest.mark.parametrize("misspelt", ["--fail-above=0.01", "--fail_abov=0.01"])
    def test_one_that_is_misspelt_does_not_stand_open(self, bpr, misspelt, capsys):
        for subject in ([bpr], ["--checkpoint", bpr / "checkpoint.pth"]):
            assert audit(*subject, misspelt) == 2
            assert "Did you mean --fail_above?" in capsys.readouterr().err

    def test_classes_that_are_too_small_are_said_to_be_unguarded(self, bpr, capsys):
        lines = (f"{i},{'x' if i < 8 else 'FM'[i % 2]}\n" for i in range(1, 944))
        Path("small.csv").write_text("user,gender\n" + "".join(lines))
        settings = [setting.replace("folds=3", "folds=10") for setting in QUICK]
        arguments = [f"--embeddings={bpr / 'embeddings.npz'}", "--labels=small.csv", "--fail_above=0.99", *settings]
        assert main(["audit", *arguments]) == 0
        assert "not guarded, too few users: gender: x" in capsys.readouterr().err

    def test_exit_code_1_and_one_line_name_what_exceeds_the_limit(self, bpr, capsys):
        assert audit(bpr, "--fail_above", "0.05", "--output_dir=out") == 1
        error = capsys.readouterr().err
        found = results()
        over = [name for name, worst in found["worst_case"].items() if worst["undefended"]["advantage"] > 0.05]
        assert over
        assert [name for name in ("gender", "age") if f"{name} 0." in error] == over
        assert error.count("\n") == 1
        assert found["audit"]["fail_above"] == 0.05

    def test_exit_code_0_below_it(self, bpr, capsys):
        assert audit(bpr, "--fail_above=0.99") == 0
        assert capsys.readouterr().err == ""


@pytest.fixture
def broken(arrays, bpr):
    """Files with one mistake each."""
    tokens, embeddings = arrays
    np.save("long.npy", np.vstack([embeddings[:1], embeddings]))
    np.savez("objects.npz", embeddings=embeddings, user_tokens=tokens.astype(object))
    np.savez("two.npz", a=embeddings, b=embeddings)
    np.savez("cut.npz", user_tokens=tokens, embeddings=embeddings)
    whole = Path("cut.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez("halves.npz", user_tokens=tokens, embeddings=embeddings, interactions=np.full(len(tokens), 0.5))
    np.savez("short.npz", user_tokens=tokens[:5], embeddings=embeddings)
    np.savez("twice.npz", user_tokens=np.array(["1"] * 943), embeddings=embeddings)
    np.savez("others.npz", user_tokens=np.char.add("x", tokens), embeddings=embeddings)
    np.savez("nan.npz", user_tokens=tokens, embeddings=np.where(embeddings > 0.01, np.nan, embeddings))
    np.save("flat.npy", np.float64(1))
    np.save("words.npy", np.array([["a", "b"]]))
    Path("words.csv").write_text("user,d0\n1,0.5\n2,many\n")
    Path("unnamed.csv").write_text(",d0\n0,0.5\n1,0.7\n")
    Path("empty.csv").write_text("")
    Path("damaged.npy").write_text("hello")
    Path("notes.txt").write_text("hello")
    Path("double.csv").write_text("user,gender\n1,F\n1,M\n")
    Path("wide.csv").write_text("user,gender\n1,F,3,4\n2,M,3,4\n")
    Path("constant.csv").write_text("user,gender\n" + "".join(f"{i},F\n" for i in range(1, 944)))
    Path("run").mkdir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is given to audit"),
        (["runs/nowhere"], "'runs/nowhere' is not a run's folder: there is no 'embeddings.npz'"),
        (["flat.npy"], "Use --checkpoint, or --embeddings"),
        (["run", "--checkpoint=c.pth"], "RUN and --checkpoint are given"),
        (["--embeddings=E"], "--embeddings and --labels go together"),
        (["run", "--labels=L"], "--embeddings and --labels go together"),
        (["--checkpoint=nowhere.pth"], "'nowhere.pth' cannot be read: No such file"),
        (["--checkpoint=notes.txt"], "'notes.txt' is damaged"),
        (["--checkpoint=notes.txt", "--trust_checkpoint"], "'notes.txt' is damaged"),
        (["--embeddings=nowhere.npy", "--labels=L"], "'nowhere.npy' cannot be read: No such file"),
        (["--embeddings=notes.txt", "--labels=L"], "not a kind of embeddings"),
        (["--embeddings=damaged.npy", "--labels=L"], "'damaged.npy' cannot be read"),
        (["--embeddings=objects.npz", "--labels=L"], "'objects.npz' cannot be read: Object arrays"),
        (["--embeddings=two.npz", "--labels=L"], "'two.npz' holds a, b. Name one 'embeddings'"),
        (["--embeddings=short.npz", "--labels=L"], "user_tokens (5,)"),
        (["--embeddings=cut.npz", "--labels=L"], "'cut.npz' cannot be read"),
        (["--embeddings=halves.npz", "--labels=L"], "'interactions' of 'halves.npz' are float64"),
        (["--embeddings=twice.npz", "--labels=L"], "names the user '1' more than once"),
        (["--embeddings=others.npz", "--labels=L"], "no user of others.npz (such as 'x"),
        (["--embeddings=nan.npz", "--labels=L"], "users are not finite"),
        (["--embeddings=flat.npy", "--labels=L"], "'flat.npy' holds given ()"),
        (["--embeddings=words.npy", "--labels=L"], "It must hold numbers"),
        (["--embeddings=words.csv", "--labels=L"], "the column 'd0' is not of numbers"),
        (["--embeddings=unnamed.csv", "--labels=L"], "Call it user_id"),
        (["--embeddings=empty.csv", "--labels=L"], "'empty.csv'"),
        (["--embeddings=long.npy", "--labels=L"], "long.npy has 944 rows and ml-100k.user has 943"),
        (["--embeddings=E", "--labels=nowhere.csv"], "'nowhere.csv' cannot be read: No such file"),
        (["--embeddings=E", "--labels=E"], "cannot be read"),
        (["--embeddings=E", "--labels=double.csv"], "names the user '1' more than once"),
        (["--embeddings=E", "--labels=wide.csv"], "more values than its header has names"),
        (["--embeddings=E", "--labels=constant.csv"], "nothing is left to tell apart"),
        (["--embeddings=E", "--labels=empty.csv"], "'empty.csv' cannot be read"),
        (["--embeddings=E", "--labels=L", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--embeddings=E", "--labels=L", "--attributes=[zip_code]"], "795 classes"),
        (["--embeddings=E", "--labels=L", "--attributes={age: {bin: [3]}}"], "unknown entry 'bin'"),
        (["--embeddings=E", "--labels=L", "--attribute_specs=3"], "attribute_specs is 3"),
        (["--embeddings=E", "--labels=L", "--attackrs=[mlp]"], "unknown attack setting 'attackrs'"),
        (["--embeddings=E", "--labels=L", "--atributes", "[gender]"], "cannot read the argument '--atributes'"),
        (["--embeddings=E", "--labels=L", "--attributes=[gender]", "--fail_above=10"], "--fail_above is 10"),
        (["--embeddings=E", "--labels=L", "--fail_above=much"], "invalid float value"),
        (["--embeddings=E", "--labels=L", "--attributes=[gender]", "--output_dir=notes.txt"], "cannot write to"),
        (["--embeddings=E", "--labels=L", "--attack_views=top_k"], "embeddings.npz holds vectors only (served, table)"),
        (["--embeddings=nan.npz", "--labels=L", "--attack_views=[profil]"], "Did you mean profile"),
        (["--embeddings=long.npy", "--labels=L", "--attack_views=served"], "long.npy holds vectors only (given)"),
        (["RUN", "--attack_views=[tabel]"], "Did you mean table"),
        (["RUN", "--attack_views=profile", "--fail_above=0.1"], "does not guard the profile"),
        (["RUN", "--attackers=[logistik]"], "logistic"),
        (["RUN", "--attributes=[gendr]"], "Did you mean 'gender'"),
    ],
)
@pytest.mark.usefixtures("broken")
def test_a_mistake_is_one_line_and_exit_code_2_and_leaves_nothing(arguments, message, bpr, tmp_path, capsys):
    places = {"E": str(bpr / "embeddings.npz"), "L": str(USERS), "RUN": str(bpr)}
    before = sorted(tmp_path.rglob("*"))
    filled = []
    for argument in arguments:
        key, _, value = argument.rpartition("=")
        filled.append(f"{key}={places[value]}" if key and value in places else places.get(argument, argument))
    try:
        code = main(["audit", *filled, *([] if "logistik" in str(arguments) else QUICK[:1]), *QUICK[1:]])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


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
