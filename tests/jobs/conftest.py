"""Runs that several files of tests start from, each trained once for all test processes."""

import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from grids import GRID

from recbole_aia import AIAConfig, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.data import create_dataset
from recbole_aia.jobs.loading import training_split
from recbole_aia.model import build_model
from recbole_aia.trainer import UndefendedTrainer


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """Gives the folder of a run: the first test process that asks for it trains, and the others wait."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder_of(name, model, **values):
        folder, complete = root / name, root / f"{name}.complete"
        with FileLock(root / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
            if not complete.exists():
                folder.mkdir(exist_ok=True)
                patch.chdir(folder)
                patch.setattr("sys.argv", ["pytest"])
                values |= {"output_dir": str(folder / "run"), "show_progress": False}
                run_recbole_aia(model, "ml-100k", config_dict=values, argv=[])
                complete.touch()
        return folder / "run"

    return folder_of


@pytest.fixture
def grid(tmp_path):
    """A small grid in a folder of its own."""
    (tmp_path / "tiny.yaml").write_text(GRID, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """The folder of the grid's comparison that nothing has disturbed."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "compared"
    with FileLock(root / "compared.lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            patch.chdir(folder)
            (folder / "tiny.yaml").write_text(GRID, encoding="utf-8")
            assert main(["compare", "tiny.yaml", "--jobs", "2"]) == 0
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def base(trained_once):
    """The checkpoint of a trained BPR, which tests of unlearning start from."""
    attack = {"attackers": ["logistic"], "attack_folds": 2, "attack_permutations": 20}
    values = {"attributes": ["gender"], "epochs": 2, **attack, "attack_repeats": 1, "attack_jobs": 1}
    return trained_once("base", "BPR", **values) / "checkpoint.pth"


AUDITED = {"epochs": 1, "attackers": ["logistic"], "attack_folds": 3, "attack_repeats": 1, "attack_jobs": 1}


@pytest.fixture(scope="session")
def bpr(trained_once):
    """The folder of a run whose served vectors are its table."""
    return trained_once("bpr", "BPR", **AUDITED)


@pytest.fixture(scope="session")
def lightgcn(trained_once):
    """The folder of a run whose served vectors are not its table."""
    return trained_once("lightgcn", "LightGCN", **AUDITED)


@pytest.fixture
def arrays(bpr):
    """The users and the served vectors of BPR."""
    with np.load(bpr / "embeddings.npz") as loaded:
        return loaded["user_tokens"], loaded["embeddings"]


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
        values |= {"n_layers": 1, "init_std": 0.1, "show_progress": False, "data_path": str(tmp_path)}
        values |= {"attribute_specs": {"age": {"field": "age", "bins": [30]}}, "attributes": ["gender"]}
        config = AIAConfig(
            model, "mine", config_dict={**values, **more, "load_col": {"inter": ["user_id", "item_id"]}}, argv=[]
        )
        training = training_split(config, create_dataset(config), config["seed"])
        trainer = UndefendedTrainer(config, build_model(config, training))
        trainer._save_checkpoint(0, verbose=False, saved_model_file=str(tmp_path / "small.pth"))
        return tmp_path / "small.pth"

    return build
