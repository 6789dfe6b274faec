import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import dok_matrix

from recbole_aia import compat


def test_every_numpy_alias_that_recbole_and_ray_read_is_there():
    for name in ("float_", "complex_", "object_", "str_", "unicode_", "int_", "bool_", "bool8"):
        assert name in vars(np)


def test_a_second_application_changes_nothing():
    from recbole.trainer import Trainer

    save = Trainer._save_checkpoint
    compat.apply()
    assert Trainer._save_checkpoint is save
    assert compat.restore_numpy_aliases() == []
    assert not compat.restore_dok_update()


def test_dok_update_fills_a_matrix():
    matrix = dok_matrix((3, 3), dtype=np.float32)
    matrix._update({(0, 1): 1.0, (2, 2): 4.0})
    assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 4]]


def test_a_download_needs_no_process_group(monkeypatch):
    import torch.distributed
    from recbole.data.dataset import Dataset

    reached = []

    class Offline(Dataset):
        def __init__(self):
            self.config = {"local_rank": 1}

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: reached.append(1) or False)
    Offline()._download()
    assert reached


def test_missing_user_features_become_the_padding_token(make_config, tmp_path):
    from recbole.data.dataset import Dataset

    folder = tmp_path / "dataset" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.inter").write_text("user_id:token\titem_id:token\n1\ta\n2\tb\n3\ta\n")
    (folder / "tiny.user").write_text("user_id:token\tgender:token\tweight:float\n1\tF\t2\n2\t\t4\n3\tM\t\n")
    config = make_config()
    config["data_path"], config["dataset"] = str(folder), "tiny"
    config["load_col"] = {"inter": ["user_id", "item_id"], "user": ["user_id", "gender", "weight"]}
    config["normalize_all"] = False
    dataset = Dataset(config)
    gender = dict(zip(dataset.user_feat["user_id"], dataset.user_feat["gender"], strict=True))
    assert gender[dataset.token2id("user_id", "2")] == 0
    assert not dataset.user_feat["weight"].isna().any()


def test_a_users_own_recbole_run_works_after_importing_us(tmp_path):
    pytest.importorskip("ray", reason="recbole.quick_start imports Ray")
    script = (
        "import recbole_aia\n"
        "from recbole.quick_start import run_recbole\n"
        "r = run_recbole('LightGCN', 'ml-100k', config_dict={'epochs': 1, 'show_progress': False})\n"
        "assert r['test_result']['recall@10'] > 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (checkpoint,) = Path(tmp_path / "saved").glob("LightGCN-*.pth")
    assert torch.load(checkpoint, weights_only=compat._strict_torch_load())["config"]["model"]
