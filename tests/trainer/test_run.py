import copy

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset as recbole_dataset
from recbole.data import data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

from recbole_aia.data import create_dataset
from recbole_aia.model import build_model
from recbole_aia.storage.run_folder import write_embeddings
from recbole_aia.trainer import train, trainer_class, undefended_twin
from recbole_aia.trainer.run import snapshot, training_hash


def stock_metrics(name, values, tmp_path):
    """What ``recbole.quick_start.run_recbole`` does, without Ray."""
    config = Config(name, "ml-100k", config_dict={**values, "checkpoint_dir": str(tmp_path / "stock")})
    init_seed(config["seed"], config["reproducibility"])
    train_data, valid_data, test_data = data_preparation(config, recbole_dataset(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = get_model(name)(config, train_data.dataset).to(config["device"])
    trainer = Trainer(config, model)
    _, valid_result = trainer.fit(train_data, valid_data)
    return valid_result, trainer.evaluate(test_data)


@pytest.mark.parametrize("name", ["BPR", "NeuMF", "DMF", "LightGCN", "MultiVAE"])
@pytest.mark.parametrize("order", ["TO", "RO"])
def test_no_defense_gives_stock_recboles_metrics(make_config, tmp_path, name, order):
    if order == "RO" and name != "BPR":
        pytest.skip("the order is the data's, not the model's")
    split = {"LS": "valid_and_test"} if order == "TO" else {"RS": [0.8, 0.1, 0.1]}
    values = {
        "epochs": 3, "eval_step": 3, "metrics": ["NDCG", "Hit", "MRR"], "topk": [10], "valid_metric": "NDCG@10",
        "eval_args": {"split": split, "order": order, "group_by": "user", "mode": "full"},
        "metric_decimal_place": 8, "show_progress": False, "train_batch_size": 8192, "learning_rate": 0.005,
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False},
        "total_anneal_steps": 200_000,  # RecBole's; our property file has another
        "eval_batch_size": 2**18,  # stock RecBole's DMF encodes all items anew for each batch, by default of two users
        # Stock RecBole evaluates NeuMF pair by pair.
        "mf_embedding_size": 16, "mlp_embedding_size": 16, "mlp_hidden_size": [32, 16],
    }  # fmt: skip
    if name == "DMF":  # stock RecBole's takes long: a fifth of the interactions
        values["val_interval"] = {"rating": "[5,5]"}
    expected_valid, expected_test = stock_metrics(name, values, tmp_path)
    config = make_config(name, **values)
    trained = train(config, create_dataset(config), tmp_path / "ours.pth")
    assert trained.valid_result == pytest.approx(expected_valid, abs=1e-6)
    assert trained.test_result == pytest.approx(expected_test, abs=1e-6)


def test_mixed_precision_trains_a_model_without_a_defense(make_config, ml100k, tmp_path):
    config = make_config("NeuMF", enable_amp=True, train_batch_size=65536, eval_step=1)
    trained = train(config, ml100k, tmp_path / "amp.pth")
    assert trained.served.isfinite().all()
    assert trained.valid_result["ndcg@10"] > 0


def test_released_vectors_are_exported_without_the_table_that_they_replace(make_config, split_ml100k, tmp_path):
    config = make_config("LightGCN", n_layers=1)
    trainer = trainer_class(config)(config, build_model(config, split_ml100k[0].dataset))
    for released in (False, True):
        if released:
            trainer.view.release()
        kept = snapshot(trainer, split_ml100k[0], None, ({}, {}))
        assert (kept.table is None) == released
        table = None if kept.table is None else kept.table.numpy()
        write_embeddings(tmp_path / "vectors.npz", np.arange(943).astype(str), kept.served.numpy(), table)
        assert ("table" in np.load(tmp_path / "vectors.npz")) != released


class TestTwin:
    def test_it_is_trained_once_and_reused(self, make_config, ml100k, tmp_path):
        config = make_config(defense="raid", epochs=2)
        first, path = undefended_twin(config, ml100k)
        stamp = path.stat().st_mtime_ns
        second, again = undefended_twin(make_config(epochs=2), ml100k)
        assert (again, path.stat().st_mtime_ns) == (path, stamp)
        assert torch.equal(first.served, second.served)
        assert second.test_result == first.test_result
        assert list(path.parent.iterdir()) == [path]

    def test_a_damaged_file_is_trained_again(self, make_config, ml100k):
        first, path = undefended_twin(make_config(), ml100k)
        path.write_bytes(path.read_bytes()[:1000])
        second, _ = undefended_twin(make_config(), ml100k)
        assert torch.equal(first.served, second.served)

    @pytest.mark.parametrize(
        "values", [{"seed": 1}, {"learning_rate": 0.5}, {"rec_loss": "bce"}, {"embedding_size": 8}]
    )
    def test_what_changes_the_numbers_changes_its_name(self, make_config, ml100k, values):
        assert training_hash(make_config(**values), ml100k) != training_hash(make_config(), ml100k)

    @pytest.mark.parametrize("values", [{"raid_eta": 3.0, "defense": "raid"}, {"attack_folds": 3}, {"output_dir": "x"}])
    def test_what_does_not_change_the_numbers_keeps_its_name(self, make_config, ml100k, values):
        assert training_hash(make_config(**values), ml100k) == training_hash(make_config(), ml100k)

    def test_both_runs_see_the_same_interactions(self, make_config, ml100k, tmp_path):
        config = make_config(defense="raid", epochs=2, raid_phase1_epochs=1, raid_atoms=16)
        twin, _ = undefended_twin(config, ml100k)
        defended = train(config, copy.deepcopy(ml100k), tmp_path / "d.pth")
        assert defended.interactions == twin.interactions
