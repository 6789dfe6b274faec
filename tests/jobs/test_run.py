import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from runs import FAST

from recbole_aia import run_recbole_aia
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.report import results_schema


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One defended run on ml-100k, its folder and what it returned."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["pytest"])
        values = {**FAST, "defense": "raid", "output_dir": str(folder / "out")}
        return folder, run_recbole_aia("BPR", "ml-100k", config_dict=values)


class TestOutput:
    def test_everything_promised_is_there_and_nothing_half_written(self, run):
        names = {path.name for path in (run[0] / "out").iterdir()}
        assert names == {
            "activity.csv", "checkpoint.pth", "config.yaml", "embeddings.npz", "report.html", "results.json", "run.log",
            "users.csv",
        }  # fmt: skip

    def test_only_the_owner_can_read_it(self, run):
        made = [path for name in ("out", "saved") for path in (run[0] / name, *(run[0] / name).rglob("*"))]
        assert len(made) > 8
        for path in made:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path

    def test_results_hold_what_figures_are_made_of(self, run):
        found = run[1]["aia"]
        cases = [(each["state"], each["attribute"]) for each in found["densities"]]
        assert cases == [(state, name) for state in ("undefended", "defended") for name in ("gender", "age")]
        before, after = (found["curves"]["states"][state] for state in ("undefended", "defended"))
        assert [each["epoch"] for each in before] == [each["epoch"] for each in after] == [0, 1, 2]
        assert [each["phase"] for each in after] == [1, 1, 2]
        assert after[2]["refreshed"] == ["raid gender", "raid age"]
        assert (found["curves"]["metric"], after[2]["valid"]) == ("ndcg@10", run[1]["best_valid_score"])
        assert any((run[0] / "log_tensorboard").rglob("events*"))

    def test_the_activity_of_users_is_in_the_owners_file_and_not_beside_the_vectors(self, run, ml100k):
        assert set(np.load(run[0] / "out" / "embeddings.npz")) == {"user_tokens", "embeddings", "table"}
        activity = pd.read_csv(run[0] / "out" / "activity.csv", dtype={"user": str}).set_index("user")["interactions"]
        assert (len(activity), activity.sum()) == (943, ml100k.inter_num)

    def test_recboles_four_keys_and_ours_are_returned(self, run):
        result = run[1]
        assert set(result) == {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result", "aia"}
        assert result["best_valid_score"] == result["best_valid_result"]["ndcg@10"]

    def test_results_fit_the_schema_and_are_what_was_returned(self, run):
        jsonschema = pytest.importorskip("jsonschema")
        written = json.loads((run[0] / "out" / "results.json").read_text())
        jsonschema.validate(written, results_schema())
        assert written == json.loads(json.dumps(run[1]["aia"]))
        assert written["data"]["attributes"]["gender"] == {"classes": {"F": 273, "M": 670}, "missing": 0}
        assert {(a["state"], a["attribute"]) for a in written["attacks"]} == {
            (state, attribute) for state in ("undefended", "defended") for attribute in ("gender", "age")
        }

    def test_the_schema_refuses_what_is_not_a_result(self, run):
        jsonschema = pytest.importorskip("jsonschema")
        for broken in ({"schema": "other/1"}, {"utility": {}}, {"attacks": [{"state": "undefended"}]}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**run[1]["aia"], **broken}, results_schema())

    def test_embeddings_load_without_pickle_and_belong_to_the_checkpoint(self, run):
        out = run[0] / "out"
        arrays = np.load(out / "embeddings.npz", allow_pickle=False)
        state = torch.load(out / "checkpoint.pth", weights_only=True)
        assert arrays["user_tokens"].shape == (943,)
        assert sorted(arrays["user_tokens"].tolist(), key=int) == [str(i) for i in range(1, 944)]
        assert arrays["embeddings"].dtype == np.float32
        np.testing.assert_array_equal(arrays["table"], state["state_dict"]["user_embedding.weight"][1:].numpy())

    def test_reported_utility_is_the_defended_states(self, run):
        written = run[1]["aia"]["utility"]
        assert written["defended"] == run[1]["test_result"]
        assert written["defended"] != written["undefended"]
        validation = run[1]["aia"]["validation"]
        assert validation["defended"] == run[1]["best_valid_result"] != run[1]["test_result"]
        assert validation.keys() == written.keys()

    def test_the_two_states_are_compared_attacker_by_attacker(self, run):
        written = run[1]["aia"]
        assert [(line["attribute"], line["attacker"]) for line in written["comparisons"]] == [
            ("gender", "logistic"),
            ("age", "logistic"),
        ]
        for line in written["comparisons"]:
            before, after = (
                written["worst_case"][line["attribute"]][s]["advantage"] for s in ("undefended", "defended")
            )
            assert line["difference"]["mean"] == pytest.approx(after - before)

    def test_every_user_is_listed_in_both_states_with_the_activity_of_the_data(self, run, ml100k):
        users = pd.read_csv(run[0] / "out" / "users.csv", dtype={"user": str})
        assert users.groupby(["state", "attribute"])["user"].nunique().to_dict() == {
            (state, attribute): 943 for state in ("undefended", "defended") for attribute in ("gender", "age")
        }
        activity = users.drop_duplicates("user").set_index("user")["interactions"]
        assert activity.sum() == ml100k.inter_num == 100_000
        assert activity["405"] == 737  # the most active user of MovieLens-100K

    def test_the_log_has_both_trainings_and_no_colours(self, run):
        text = (run[0] / "out" / "run.log").read_text()
        assert "Undefended twin" in text
        assert "raid gender loss" in text
        assert "\x1b[" not in text

    def test_the_written_configuration_reproduces_the_run(self, run, monkeypatch):
        folder, result = run
        monkeypatch.chdir(folder)
        again = run_recbole_aia(
            config_file_list=[folder / "out" / "config.yaml"],
            config_dict={"output_dir": str(folder / "again"), "reuse_undefended": False},
        )
        assert again["test_result"] == result["test_result"]
        metrics = [[row["metrics"] for row in r["aia"]["attacks"]] for r in (again, result)]
        assert metrics[0] == metrics[1]
        values = yaml.safe_load((folder / "out" / "config.yaml").read_text())
        assert values["attributes"] == ["gender", "age"]

    def test_the_same_run_shown_or_placed_otherwise_may_be_repeated(self, run):
        again = {**FAST, "defense": "raid", "output_dir": str(run[0] / "out"), "state": "warning", "attack_jobs": None}
        assert run_recbole_aia("BPR", config_dict=again)["test_result"] == run[1]["test_result"]

    def test_another_run_does_not_overwrite_it(self, run):
        before = (run[0] / "out" / "results.json").read_bytes()
        with pytest.raises(ConfigValueError, match="holds another run"):
            run_recbole_aia("BPR", config_dict={**FAST, "output_dir": str(run[0] / "out")})
        assert (run[0] / "out" / "results.json").read_bytes() == before

    def test_files_of_unknown_origin_are_not_overwritten(self, tmp_path):
        (tmp_path / "checkpoint.pth").write_text("precious")
        with pytest.raises(ConfigValueError, match="holds another run"):
            run_recbole_aia("BPR", config_dict={**FAST, "output_dir": "."})
        assert (tmp_path / "checkpoint.pth").read_text() == "precious"


def test_a_failed_run_leaves_its_log_and_no_half_results(tmp_path, monkeypatch):
    def fail(*_args):
        raise ConfigValueError("diverged")

    monkeypatch.setattr("recbole_aia.jobs.run.undefended_twin", fail)
    with pytest.raises(ConfigValueError, match="diverged"):
        run_recbole_aia("BPR", config_dict={**FAST, "output_dir": "out"})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.log"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"defense": "raid", "raid_phase1_epochs": 3}, "Raise epochs or lower raid_phase1_epochs"),
        ({"attributes": ["occupation"], "attack_folds": 200}, "fold"),
        ({"attack_views": ["served", "topk"]}, "Did you mean top_k"),
        ({"holdout_users": 0.2}, "Choose a --defense"),
        ({"defense": "raid", "raid_phase1_epochs": 1, "holdout_users": 1e-4}, "none of the users"),
        ({"output_dir": "/proc/x"}, "cannot write to '/proc/x'"),
        ({"checkpoint_dir": "/proc/x"}, "cannot write to '/proc/x'"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(values, message, monkeypatch):
    monkeypatch.setattr("recbole_aia.jobs.run.undefended_twin", lambda *_: pytest.fail("training began"))
    with pytest.raises((ConfigValueError, AttributeDataError), match=message):
        run_recbole_aia("BPR", config_dict={**FAST, **values})


def test_a_model_class_of_ones_own_is_the_one_that_is_trained():
    from recbole.model.general_recommender import BPR

    class LightGCN(BPR):
        """Named like another model, and none of RecBole's."""

    result = run_recbole_aia(LightGCN, "ml-100k", config_dict={**FAST, "embedding_size": 8, "n_layers": 2})
    assert result["aia"]["run"]["model"] == "LightGCN"
    folder = next(Path("runs").iterdir())
    assert np.load(folder / "embeddings.npz")["embeddings"].shape == (943, 8)
    state = torch.load(folder / "checkpoint.pth", weights_only=True)
    assert set(state["state_dict"]) == {"user_embedding.weight", "item_embedding.weight"}
    assert "aia" not in state


def test_raid_can_start_from_a_trained_checkpoint(run, tmp_path):
    trained = run[0] / "out" / "checkpoint.pth"
    values = {**FAST, "defense": "raid", "init_checkpoint": trained, "raid_phase1_epochs": 0, "learning_rate": 1e-9}
    run_recbole_aia("BPR", config_dict={**values, "epochs": 1, "eval_step": 1, "output_dir": "after"})
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (trained, Path("after/checkpoint.pth"))]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-6, rtol=0)
    other = {**FAST, "defense": "raid", "init_checkpoint": str(trained), "embedding_size": 8, "output_dir": "other"}
    with pytest.raises(ConfigValueError, match=r"embedding_size is 8, and '.*' was trained with 64"):
        run_recbole_aia("BPR", config_dict=other)


def test_a_defense_after_training_starts_from_the_undefended_twin():
    values = {**FAST, "defense": "attrcloak", "unlearn_max_steps": 10, "attributes": ["gender"], "output_dir": "post"}
    written = run_recbole_aia("BPR", config_dict=values)["aia"]
    assert (written["run"]["defense"], written["run"]["stage"]) == ("attrcloak", "post")
    assert list(written["utility"]) == ["undefended", "defended"]
    (twin,) = (torch.load(path, weights_only=True) for path in Path("saved").glob("undefended-*.pth"))
    post = torch.load("post/checkpoint.pth", weights_only=True)
    assert torch.equal(twin["state_dict"]["item_embedding.weight"], post["state_dict"]["item_embedding.weight"])
    assert not torch.equal(twin["state_dict"]["user_embedding.weight"], post["state_dict"]["user_embedding.weight"])
    (record,) = post["unlearned"]
    assert (record["attributes"], record["users"], record["mode"]) == (["gender"], None, "data_dependent")


def test_a_defense_after_training_is_compared_with_the_model_that_it_started_from(run, capsys):
    trained = run[0] / "out" / "checkpoint.pth"
    values = {**FAST, "defense": "noise", "init_checkpoint": trained, "attributes": ["gender", "age"]}
    written = run_recbole_aia("BPR", config_dict={**values, "output_dir": "post"})["aia"]
    assert not Path("saved").exists() or not list(Path("saved").iterdir())
    earlier = run[1]["aia"]
    assert written["utility"]["undefended"] == pytest.approx(earlier["utility"]["defended"])
    gains = [
        [
            row["metrics"]["advantage"]["mean"]
            for row in results["attacks"]
            if row["state"] == state and row["view"] in ("served", "top_k")
        ]
        for results, state in ((written, "undefended"), (earlier, "defended"))
    ]
    assert gains[0] == pytest.approx(gains[1])
    assert f"note: undefended is the model in '{trained}'" in capsys.readouterr().out


def test_users_whose_labels_the_defense_did_not_see_are_reported_apart(run, monkeypatch, capsys):
    monkeypatch.chdir(run[0])
    twins = set(Path("saved").glob("undefended-*.pth"))
    values = {**FAST, "defense": "calibrated", "stage": "post", "calibrated_steps": 3, "attributes": ["gender"]}
    written = run_recbole_aia("BPR", config_dict={**values, "holdout_users": 0.2, "output_dir": "holdout"})["aia"]
    assert set(Path("saved").glob("undefended-*.pth")) == twins
    assert (written["holdout"]["share"], written["holdout"]["n_users"]) == (0.2, 189)
    assert {(row["users"], row["state"], row["n_users"]) for row in written["holdout"]["rows"]} == {
        (users, state, count)
        for users, count in (("seen", 754), ("unseen", 189))
        for state in ("undefended", "defended")
    }
    assert {row["n_users"] for row in written["attacks"]} == {943}
    printed = capsys.readouterr().out
    for users in ("saw", "did not see"):
        assert f"labels the defense {users}: worst case for gender: undefended" in printed


def test_a_stage_that_a_defense_does_not_have_is_refused():
    with pytest.raises(ConfigValueError, match="'attrcloak' has no stage 'in', only post"):
        run_recbole_aia("BPR", config_dict={**FAST, "defense": "attrcloak", "stage": "in"})


def test_no_defense_reports_one_state_and_names_its_own_folder(tmp_path, capsys):
    result = run_recbole_aia("BPR", config_dict={**FAST, "attributes": ["gender"]})
    assert list(result["aia"]["utility"]) == ["undefended"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("BPR-ml-100k-none-seed2020-")
    printed = capsys.readouterr().out
    assert "logistic" in printed
    assert "ndcg@10" in printed


def test_the_table_shows_floor_and_both_states(run):
    from recbole_aia.report import attack_table, utility_table, verdict

    results = run[1]["aia"]
    lines = attack_table(results).splitlines()
    for view in ("served", "top_k"):
        row = next(line for line in lines if line.split()[1:3] == ["gender", view])
        undefended, defended = (
            f"{a['metrics']['advantage']['mean']:.3f}"
            for a in results["attacks"]
            if (a["attribute"], a["view"]) == ("gender", view)
        )
        assert undefended in row
        assert defended in row
    assert max(map(len, lines)) <= 130
    assert "%" in utility_table(results)
    assert "worst case for age" in verdict(results)
