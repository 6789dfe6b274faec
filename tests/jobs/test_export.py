import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config

from recbole_aia import load_run, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.config.registry import known_keys
from recbole_aia.storage.checkpoints import load_checkpoint, plain_state, save_checkpoint

FAST = ["--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1", "--attack_permutations=20"]

# A process that knows the shims for newer libraries, and nothing else of this package.
VANILLA = """
import json, sys
from recbole_aia import compat
compat.apply()
from recbole.quick_start import load_data_and_model
from recbole.utils import get_trainer
files, sys.argv[1:] = sys.argv[1:], []  # RecBole reads the command line, too
for file in files:
    config, model, dataset, train, valid, test = load_data_and_model(file)
    config.compatibility_settings()  # NumPy's names of old, which RecBole gives back when it makes a configuration
    assert type(config).__module__ == "recbole.config.configurator", type(config)
    assert "defense" not in config.final_config_dict
    assert type(model).__module__.startswith("recbole.model"), type(model)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    print(json.dumps({k: float(v) for k, v in trainer.evaluate(test, load_best_model=False).items()}))
"""
MODELS = ["BPR", "LightGCN"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of unlearned runs, by model."""
    folders = {}
    for model in MODELS:
        folder = tmp_path_factory.mktemp(model)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr("sys.argv", ["pytest"])
            config = {"attributes": ["gender"], "epochs": 2, "output_dir": "run", "defense": "noise", "target": "table"}
            run_recbole_aia(model, config_dict=config, argv=[*FAST, "--show_progress=False"])
        folders[model] = folder / "run"
    return folders


@pytest.fixture(params=MODELS)
def run(request, runs):
    return runs[request.param]


def test_vanilla_recbole_opens_what_is_exported_and_measures_the_same(runs):
    pytest.importorskip("ray", reason="recbole.quick_start imports Ray")
    for model, run in runs.items():
        assert main(["export", str(run), "--format", "recbole", "--out", f"{model}.pth"]) == 0
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    command = [sys.executable, "-c", VANILLA, *(f"{model}.pth" for model in runs)]
    vanilla = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert vanilla.returncode == 0, vanilla.stderr[-2000:]
    printed = [line for line in vanilla.stdout.splitlines() if line.startswith("{")]
    for run, line in zip(runs.values(), printed, strict=True):
        utility = json.loads((run / "results.json").read_text())["utility"]["defended"]
        assert json.loads(line) == pytest.approx(utility, abs=1e-6)


def test_a_file_that_is_there_is_not_overwritten(run, capsys):
    Path("model.pth").write_text("mine")
    assert main(["export", str(run), "--out", "model.pth"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert Path("model.pth").read_text() == "mine"


def test_released_users_have_no_place_in_recboles_models(run, capsys, tmp_path):
    state = torch.load(run / "checkpoint.pth", weights_only=True)
    if state["config"]["model"] != "LightGCN":
        return
    state["other_parameter"] |= {"released_users": torch.zeros(944, 64), "released_items": torch.zeros(1683, 64)}
    save_checkpoint(state, tmp_path / "checkpoint.pth")
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "model.pth")]) == 2
    assert "are released" in capsys.readouterr().err
    assert not (tmp_path / "model.pth").exists()


@pytest.mark.parametrize("masked", [True, False])
def test_predictions_are_the_best_items_with_or_without_those_a_user_was_trained_on(run, masked):
    loaded = load_run(run)
    users, items, scores = loaded.predictions(k=5, masked=masked)
    assert users.tolist() == loaded.dataset.field2id_token["user_id"][1:].tolist()
    assert items.shape == scores.shape == (943, 5)
    with torch.no_grad():
        everything = (
            loaded.model.full_sort_predict({"user_id": torch.tensor([7], device=loaded.model.device)}).flatten().clone()
        )
    train = loaded.training.inter_feat
    if masked:
        everything[train["item_id"][train["user_id"] == 7]] = -torch.inf
    everything[0] = -torch.inf
    best = everything.topk(5)
    assert items[6].tolist() == loaded.dataset.field2id_token["item_id"][best.indices.numpy()].tolist()
    assert np.allclose(scores[6], best.values.numpy(), atol=1e-5)


def test_the_base_of_an_unlearning_is_a_model_too(run):
    state = load_checkpoint(run / "checkpoint.pth")
    save_checkpoint(plain_state(state, run), Path("base.pth"))
    assert main(["export", "base.pth", "--out", "model.pth"]) == 0
    stock = torch.load("model.pth", weights_only=False)
    assert stock["epoch"] == stock["cur_step"] == 0
    torch.optim.Adam(load_run(run).model.parameters()).load_state_dict(stock["optimizer"])


def test_the_configuration_is_recboles_own_and_the_command_line_does_not_reach_it(run, monkeypatch):
    trained = load_run(run).config
    monkeypatch.setattr("sys.argv", ["anything", "--epochs=99", "--embedding_size=7", "--nonsense"])
    assert main(["export", str(run), "--out", "model.pth"]) == 0
    assert sys.argv[1:] == ["--epochs=99", "--embedding_size=7", "--nonsense"]
    stock = torch.load("model.pth", weights_only=False)["config"]
    assert type(stock) is Config
    for key in ("epochs", "embedding_size", "model", "seed", "eval_args"):
        assert stock[key] == trained[key], key
    assert known_keys().keys() & stock.final_config_dict.keys() == {"device"}  # RecBole writes it too


def test_a_file_that_cannot_be_written_is_one_line(run, capsys):
    assert main(["export", str(run), "--out", "/proc/model.pth"]) == 2
    error = capsys.readouterr().err
    assert "cannot write '/proc/model.pth'" in error
    assert error.count("\n") == 1
