"""Real sweeps of noise on BPR, whose three trials are trained once for all tests here."""

import json
import shutil
import sys

import pandas as pd
import pytest
import yaml

from recbole_aia.cli import main
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.errors import Interrupted
from recbole_aia.jobs.study import MedianWithin
from recbole_aia.storage.run_folder import kept_place
from recbole_aia.trainer.run import train

RUNS = [
    "--model=BPR", "--attributes=[gender]", "--seed=1", "--epochs=1", "--embedding_size=8", "--learning_rate=0.02",
    "--attackers=[logistic]", "--attack_repeats=1", "--attack_views=[served]", "--attack_permutations=20",
    "--attack_jobs=1",
]  # fmt: skip
SWEEP = ["sweep", "--defense", "noise", "--trials", "3", "--output_dir", "out", *RUNS]
FILES = ("sweep.csv", "front.md", "best.yaml", "report.html")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["pytest"])
        assert main([*SWEEP, "--bound", "0.15"]) == 0
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of the sweep, in the working directory."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def files(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def table(folder):
    return pd.read_csv(folder / "sweep.csv", keep_default_na=False).set_index("trial")


def changed_results(folder, **changes):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    (folder / "results.json").write_text(json.dumps({**results, **changes}), encoding="utf-8")


def test_a_sweep_finds_the_best_within_the_bound_and_attacks_it_again(place):
    trials = table(place / "out")
    assert list(trials.state) == ["finished"] * 3
    assert len(list((place / "runs").iterdir())) == 3
    assert len(list((place / "saved").glob("undefended-*.pth"))) == 1
    for trial in trials.itertuples():
        results = json.loads((place / trial.run / "results.json").read_text(encoding="utf-8"))
        case, validation = results["worst_case"]["gender"]["defended"], results["validation"]
        assert (trial.advantage, trial.floor) == pytest.approx((case["advantage"], case["floor"]))
        assert trial.validation == pytest.approx(validation["defended"]["ndcg@10"])
        assert trial.kept == pytest.approx(trial.validation / validation["undefended"]["ndcg@10"])
    within = trials[trials.advantage <= 0.15]
    assert 0 < len(within) < 3
    best = trials[trials.best]
    assert list(best.index) == [within.validation.idxmax()]
    # Both numbers of the best, of attacks with different folds.
    again = json.loads((place / f"out/again-{best.index[0]}/results.json").read_text(encoding="utf-8"))
    second = again["worst_case"]["gender"]["defended"]["advantage"]
    assert again["run"]["seed"] == 2
    assert second != best.advantage.item()
    said = (place / "out/front.md").read_text(encoding="utf-8")
    assert f"{best.advantage.item():.3f} in the attack that chose it, and {second:.3f}" in said
    assert f"| **{best.index[0]}** |" in said


def test_best_is_a_configuration_of_the_best_run(place):
    config = AIAConfig(config_file_list=[place / "out/best.yaml"], argv=[])
    best = table(place / "out").query("best").run.item()
    assert str(kept_place(config)) == best


def test_the_page_shows_the_plane_and_how_to_repeat_the_sweep(place):
    page = (place / "out/report.html").read_text(encoding="utf-8")
    for text in (
        "within the bound",
        "above the bound",
        "What was found",
        "recbole-aia sweep sweep.yaml",
        "noise_scale",
    ):
        assert text in page


def test_what_is_done_is_not_done_again(place):
    before, kept = files(place / "out"), {run: run.stat().st_mtime_ns for run in (place / "runs").rglob("results.json")}
    assert main([*SWEEP, "--bound", "0.15"]) == 0
    assert files(place / "out") == before
    assert {run: run.stat().st_mtime_ns for run in (place / "runs").rglob("results.json")} == kept


def test_an_interrupted_sweep_goes_on_as_if_nothing_had_been(place, monkeypatch):
    whole = files(place / "out")
    shutil.rmtree(place / "out")
    runs = sorted((place / "runs").iterdir())
    shutil.rmtree(runs[0])

    def interrupted(config, validated):
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr("recbole_aia.jobs.sweep.run", interrupted)
        assert main([*SWEEP, "--bound", "0.15"]) == 143
    assert not (place / "out/sweep.csv").exists()
    assert main([*SWEEP, "--bound", "0.15"]) == 0
    assert sorted((place / "runs").iterdir()) == runs
    assert files(place / "out") == whole


def test_a_bound_that_no_trial_meets_is_said_with_the_nearest(place, capsys):
    assert main([*SWEEP, "--bound", "0", "--output_dir", "strict"]) == 0
    trials = table(place / "strict")
    assert len(list((place / "runs").iterdir())) == 3  # the same trials, found again
    said = capsys.readouterr().out
    assert f"No trial is within the bound of 0. The nearest is trial {trials.advantage.idxmin()} (" in said
    assert not trials.best.any()
    assert not (place / "strict/best.yaml").exists()


def test_validation_and_not_test_metrics_choose(place, capsys):
    runs = list(table(place / "out").run)
    for rank, run in enumerate(runs):  # the later, the better on validation items, and the worse on test items
        changed_results(
            place / run,
            validation={"undefended": {"ndcg@10": 0.5}, "defended": {"ndcg@10": 0.1 + 0.1 * rank}},
            utility={"undefended": {"ndcg@10": 0.5}, "defended": {"ndcg@10": 0.4 - 0.1 * rank}},
        )
    assert main([*SWEEP, "--bound", "1", "--output_dir", "other"]) == 0
    assert list(table(place / "other").best) == [False, False, True]
    assert "On test items, which chose nothing: NDCG@10 0.2000, and 0.5000 undefended." in capsys.readouterr().out


def test_a_trial_that_fails_is_kept_with_its_line_and_stops_no_other(place, capsys):
    scale = float(table(place / "out").noise_scale[0])
    search = f"{{noise_scale: [{scale!r}], target: [~, tower]}}"
    more = [*SWEEP, "--bound", "1", "--output_dir", "other", "--trials", "4"]
    assert main([*more, "--search", search]) == 0
    trials = table(place / "other")
    assert set(trials.state) == {"finished", "failed"}
    assert set(trials[trials.state == "failed"].target) == {"tower"}
    assert all("tower" in reason for reason in trials[trials.state == "failed"].reason)
    assert "Without a result:" in capsys.readouterr().out
    assert yaml.safe_load((place / "other/best.yaml").read_text(encoding="utf-8"))["target"] is None


def test_a_sweep_of_failures_is_an_error_that_says_why(tmp_path, capsys):
    assert main([*SWEEP, "--bound", "1", "--trials", "1", "--search", "{target: [tower]}"]) == 2
    assert "no trial of the sweep has finished. The last: " in capsys.readouterr().err
    assert not (tmp_path / "out/study.db").exists()  # so that the same command tries again


def test_a_training_that_falls_behind_ends(place, capsys, monkeypatch):
    monkeypatch.setattr(MedianWithin, "prune", lambda self, study, trial: trial.last_step == 0)
    swd = ["swd" if word == "noise" else word for word in SWEEP]
    assert main([*swd, "--bound", "1", "--trials", "1", "--output_dir", "other"]) == 2
    assert "its training was ended early" in capsys.readouterr().err
    assert not list(place.glob("runs/*-swd-*/results.json"))


def test_only_the_phase_that_defends_is_compared(make_config, ml100k, tmp_path):
    heard = []
    config = make_config(
        defense="raid", attributes=["gender"], epochs=2, raid_phase1_epochs=1, raid_atoms=8, train_batch_size=8192
    )
    trained = train(config, ml100k, tmp_path / "a.pth", validated=lambda epoch, score: heard.append((epoch, score)))
    assert heard == [(1, pytest.approx(trained.valid_result["ndcg@10"]))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bound", "0.2"], "no model is given"),
        (["--model=BPR", "--bound", "much"], "the bound is 'much'"),
        (["--model=BPR"], "Give --bound 0.15, say"),
        (["--model=BPR", "--bound", "0.2", "--trials", "many"], "the number of trials is 'many'"),
        (["--model=BPR", "--bound", "0.2", "--search", "{noise: [1]}"], "is no key of noise"),
        (["--model=BPR", "--bound", "0.2", "--search", "{noise_scale: [1"], "It must give each key"),
        (["--model=BPR", "--bound", "0.2", "--trial=3"], "Did you mean --trials"),
        (["--model=BPR", "--bound", "0.2", "--valid_metric=NDCG@5"], "NDCG@5"),
        (["--model=BPR", "--bound", "0.2", "--attributes=[nope]"], "ml-100k has no attribute 'nope'"),
        (["absent.yaml", "--bound", "0.2"], "'absent.yaml' does not exist"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["sweep", "--defense", "noise", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_run_is_refused(place, capsys):
    run = next((place / "runs").iterdir())
    before = (run / "report.html").read_bytes()
    assert main([*SWEEP, "--bound", "0.3", "--output_dir", str(run)]) == 2
    assert "holds another run's results.json" in capsys.readouterr().err
    assert (run / "report.html").read_bytes() == before


def test_the_folder_of_another_sweep_is_refused(place, capsys):
    before = files(place / "out")
    assert main([*SWEEP, "--bound", "0.3"]) == 2
    assert "'out' holds another sweep" in capsys.readouterr().err
    assert files(place / "out") == before


def test_without_optuna_a_line_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setattr("recbole_aia.commands.sweep.find_spec", lambda name: None)
    assert main([*SWEEP, "--bound", "0.2"]) == 2
    assert "pip install 'recbole-aia[sweep]'" in capsys.readouterr().err
