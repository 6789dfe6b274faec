"""RecBole's own defaults pass the checks of its keys, and so does what its users write."""

from pathlib import Path

import pytest
import recbole
import torch

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.recbole_checks import of_model
from recbole_aia.config.recbole_keys import RECBOLE
from recbole_aia.config.text import read_yaml
from recbole_aia.errors import ConfigValueError
from recbole_aia.storage.run_folder import config_text

PROPERTIES = Path(recbole.__file__).parent / "properties"
FILES = sorted(file for file in PROPERTIES.rglob("*.yaml") if file.name not in ("url.yaml", "kg_url.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_default_of_recboles_is_accepted(file):
    for name, value in read_yaml(file).items():
        key = RECBOLE.get(name) or of_model(name, value)
        if key is not None:
            key.check(name, value)


def test_every_default_of_a_run_is_accepted():
    config = AIAConfig("BPR", "ml-100k", argv=[])
    for name, key in RECBOLE.items():
        if name in config:
            key.check(name, config[name])


@pytest.mark.parametrize(
    "values",
    [
        {"metrics": "NDCG", "topk": 10},
        {"metrics": ["AUC", "LogLoss"], "valid_metric": "auc", "eval_args": {"mode": "labeled"}},
        {"eval_args": {"mode": {"valid": "uni100", "test": "full"}}},
        {"eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": None, "order": "RO", "mode": "pop50"}},
        {"train_neg_sample_args": None},
        {"train_neg_sample_args": {"distribution": "popularity", "alpha": 0.75}},
        {"train_neg_sample_args": {"dynamic": True, "candidate_num": 5}},
        {"load_col": None},
        {"load_col": {"inter": "*", "item": ["item_id"]}},
        {"threshold": {"rating": 4}},
        {"val_interval": {"rating": "[3,inf)", "timestamp": "(0,1];[5,9)"}},
        {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[0,100)"},
        {"clip_grad_norm": {"max_norm": 5, "norm_type": float("inf")}},
        {"field_separator": ",", "encoding": "gb18030"},
        {"rm_dup_inter": "first", "save_dataset": True, "worker": 2},
        {"weight_decay": 0, "learning_rate": 1, "seed": 0},
    ],
)
def test_what_recbole_takes_is_taken(values):
    values.setdefault("valid_metric", "NDCG@10")
    AIAConfig("BPR", "ml-100k", config_dict=values, argv=[])


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "NARM"])
def test_the_settings_of_sequential_models_are_taken_with_and_without_negatives(model):
    for values in ({}, {"train_neg_sample_args": None}):
        config = AIAConfig(model, "ml-100k", config_dict=values, argv=[])
        assert config["train_neg_sample_args"]["distribution"] == "none"


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is visible is settled once CUDA has begun")
def test_a_gpu_in_a_file_of_another_machine_is_a_warning_and_on_the_command_line_an_error(tmp_path, caplog):
    (tmp_path / "c.yaml").write_text("gpu_id: 77\n")
    AIAConfig("BPR", "ml-100k", [tmp_path / "c.yaml"], argv=[])
    assert "gpu_id is 77, and torch sees no such GPU" in caplog.text
    with pytest.raises(ConfigValueError, match="torch sees no such GPU"):
        AIAConfig("BPR", "ml-100k", argv=["--gpu_id=77"])


def test_a_written_configuration_without_negatives_is_read_again(tmp_path):
    config = AIAConfig("NeuMF", "ml-100k", config_dict={"train_neg_sample_args": None}, argv=[])
    (tmp_path / "config.yaml").write_text(config_text(config))
    again = AIAConfig(config_file_list=[tmp_path / "config.yaml"], argv=[])
    assert again["train_neg_sample_args"] == config["train_neg_sample_args"]


def test_a_file_may_hold_keys_of_other_models(tmp_path):
    (tmp_path / "c.yaml").write_text("mf_embedding_size: 8\nmlp_hidden_size: [8]\nn_layers: 2\n")
    assert AIAConfig("BPR", "ml-100k", [tmp_path / "c.yaml"], argv=[])["mf_embedding_size"] == 8


@pytest.mark.parametrize(("model", "taken"), [("MultiVAE", True), ("NeuMF", False)])
def test_an_autoencoder_may_do_without_hidden_layers(model, taken):
    if taken:
        assert AIAConfig(model, "ml-100k", argv=["--mlp_hidden_size=[]"])["mlp_hidden_size"] == []
        return
    with pytest.raises(ConfigValueError, match="mlp_hidden_size is"):
        AIAConfig(model, "ml-100k", argv=["--mlp_hidden_size=[]"])


def test_a_key_of_somebody_elses_model_may_look_like_recboles(tmp_path):
    assert AIAConfig("BPR", "ml-100k", argv=["--embedding_size_2=7"])["embedding_size_2"] == 7
