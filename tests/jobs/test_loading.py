"""Runs and splits that are brought back as they were."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recbole_aia.data import create_dataset, interactions_digest
from recbole_aia.jobs.loading import load_run, training_split
from recbole_aia.trainer import train


@pytest.mark.parametrize("order", ["TO", "RO"])
def test_the_training_split_is_the_one_that_was_trained_on(make_config, order):
    split = {"LS": "valid_and_test"} if order == "TO" else {"RS": [0.8, 0.1, 0.1]}
    config = make_config(eval_args={"split": split, "order": order, "group_by": "user", "mode": "full"})
    data = create_dataset(config)
    trained = train(config, data, Path("trained.pth"))
    torch.rand(7)  # whatever has been drawn since
    # Nor does it depend on a seed that is given for an attack.
    for split in (training_split(config, data, config["seed"]), load_run("trained.pth", argv=["--seed=1"]).training):
        assert interactions_digest(SimpleNamespace(dataset=split)) == trained.interactions
