"""A training that diverges ends at the last good state, in one line."""

import copy

import pytest
import torch

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.trainer import UndefendedTrainer


def test_the_file_keeps_the_last_good_state(make_config, ml100k):
    config = make_config("BPR", epochs=3, eval_step=1, train_batch_size=1_000_000)
    train_data, valid_data, _ = prepare_loaders(config, copy.deepcopy(ml100k))
    trainer = UndefendedTrainer(config, build_model(config, train_data.dataset))

    def spoil(*_):  # the weights, and not yet the loss
        with torch.no_grad():
            trainer.model.user_embedding.weight[1].fill_(torch.inf)

    trainer.after_epoch = lambda _: trainer.optimizer.register_step_post_hook(spoil)
    with pytest.raises(ConfigValueError, match=r"no longer finite after epoch 1\. Lower the learning_rate") as caught:
        trainer.fit(train_data, valid_data, show_progress=False)
    assert len(str(caught.value).splitlines()) == 1
    state = load_checkpoint(trainer.saved_model_file)
    assert state["epoch"] == 0
    assert all(weights.isfinite().all() for weights in state["state_dict"].values())
