"""Distribution matching in training."""

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.data import prepare_loaders
from recbole_aia.losses import distribution_to_distribution, sliced_wasserstein
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class


def fitted(make_config, ml100k, model="BPR", **values):
    small = {
        "embedding_size": 8,
        "init_std": 0.1,
        "epochs": 2,
        "train_batch_size": 8192,
        "attributes": ["gender", "age"],
    }
    config = make_config(model, defense="swd", **{**small, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(0, True)
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    trainer.fit(loaders[0], saved=False)
    return trainer


def distances(trainer, name, distance):
    with torch.no_grad():
        users, labels = trainer.view.served(), trainer.labels.column(name)[1:]
        if distance == "mmd":
            return float(distribution_to_distribution(users, labels))
        return float(sliced_wasserstein(users, labels, torch.eye(users.shape[1], device=users.device)))


@pytest.mark.parametrize("distance", ["sliced", "mmd"])
def test_classes_of_every_attribute_come_closer(make_config, ml100k, distance):
    strong = {"swd_distance": distance, "learning_rate": 0.01}
    without = fitted(make_config, ml100k, swd_weight=0.0, **strong)
    pulled = fitted(make_config, ml100k, swd_weight=100.0, **strong)
    for name in ("gender", "age"):
        assert distances(pulled, name, distance) < 0.7 * distances(without, name, distance)


def test_at_chance_it_leaves_users_alone(make_config, ml100k):
    trainer = fitted(make_config, ml100k, calibrate=True, swd_weight=100.0)
    term, _ = trainer.terms
    term.stop.above = lambda: torch.tensor([False])
    assert float(term()) == 0
    term.stop.above = lambda: torch.tensor([True])
    assert float(term()) > 0
