"""Recorded functions and epochs of recorded steps. On a CPU, a replay calls the function with the recorded tensors."""

import logging

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer.device_epochs import DeviceEpochs
from recbole_aia.trainer.recording import Recorded
from recbole_aia.trainer.registry import trainer_class

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
MODELS = ["BPR", "LightGCN", "NGCF", "NeuMF", "DMF"]


@pytest.fixture
def on_device(monkeypatch):
    """Lets epochs run on the CPU as they do on a GPU, with an optimizer of the same numbers."""
    monkeypatch.setattr(DeviceEpochs, "takes", staticmethod(lambda trainer: True))
    monkeypatch.setattr("recbole_aia.trainer.device_epochs.prepare_optimizer", lambda optimizer: None)


def trained(make_config, ml100k, model="BPR", change=lambda trainer: None, **values):
    config = make_config(model, **{"epochs": 2, "train_batch_size": 8192, **values})
    init_seed(3, True)
    train_data = prepare_loaders(config, split_once(ml100k))[0]
    init_seed(3, True)
    trainer = trainer_class(config)(config, build_model(config, train_data.dataset))
    change(trainer)
    trainer.fit(train_data, saved=False)
    return trainer


def steps_of(trainer):
    return list(trainer._device_epochs._steps.values())


@pytest.mark.parametrize("device", DEVICES)
def test_every_call_of_a_recorded_function_sees_its_own_inputs(device):
    total = torch.zeros(4, device=device)

    def add(numbers):
        total.add_(2 * numbers)
        return len(numbers)

    recorded = Recorded(add)
    inputs = [torch.randn(4, device=device) for _ in range(10)]
    assert all(recorded(each) == 4 for each in inputs)
    torch.testing.assert_close(total, 2 * torch.stack(inputs).sum(0))


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_of_another_shape_are_computed_and_not_replayed(device):
    total = torch.zeros((), device=device)
    recorded = Recorded(lambda numbers: total.add_(numbers.sum()) and None)
    for size in (4, 4, 4, 4, 4, 3, 4, 1):
        recorded(torch.ones(size, device=device))
    assert float(total) == 28


def test_what_is_held_is_a_copy():
    recorded = Recorded(lambda numbers: None)
    given = torch.ones(3)
    for _ in range(9):
        recorded(given)
    assert torch.equal(given, torch.ones(3))
    assert recorded._held[0].data_ptr() != given.data_ptr()


@pytest.mark.parametrize("model", MODELS)
def test_epochs_of_recorded_steps_are_recboles(make_config, ml100k, monkeypatch, model):
    stock = trained(make_config, ml100k, model)
    monkeypatch.setattr(DeviceEpochs, "takes", staticmethod(lambda trainer: True))
    monkeypatch.setattr("recbole_aia.trainer.device_epochs.prepare_optimizer", lambda optimizer: None)
    ours = trained(make_config, ml100k, model)
    (step,) = steps_of(ours)
    assert step._held is not None
    for a, b in zip(ours.model.parameters(), stock.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.train_loss_dict == pytest.approx(stock.train_loss_dict)


DEFENSES = {
    "raid": {"raid_phase1_epochs": 1, "raid_atoms": 16},
    "raid, few users": {"raid_phase1_epochs": 1, "raid_atoms": 16, "raid_batch_users": 64},
    "raid, calibrated": {"raid_phase1_epochs": 1, "raid_atoms": 16, "calibrate": True},
    "raid, first refresh late": {"epochs": 3, "raid_phase1_epochs": 1, "raid_refresh_epochs": 2,
                                 "raid_first_refresh": "interval", "raid_atoms": 16},
    "calibrated": {"calibrated_epochs": 2, "calibrated_steps": 2},
    "u2u": {},
}  # fmt: skip


@pytest.mark.parametrize("defense", DEFENSES)
def test_defended_epochs_are_the_same_too(make_config, ml100k, monkeypatch, defense):
    values = {"defense": defense.split(",")[0], "attributes": ["gender"], **DEFENSES[defense]}
    launched = trained(make_config, ml100k, **values)
    monkeypatch.setattr(DeviceEpochs, "takes", staticmethod(lambda trainer: True))
    monkeypatch.setattr("recbole_aia.trainer.device_epochs.prepare_optimizer", lambda optimizer: None)
    ours = trained(make_config, ml100k, **values)
    assert bool(steps_of(ours)) == (defense != "u2u")
    for a, b in zip(ours.model.parameters(), launched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.train_loss_dict == pytest.approx(launched.train_loss_dict)


def test_steps_without_a_pull_on_a_tower_are_recorded(make_config, ml100k, on_device):
    values = {"defense": "calibrated", "attributes": ["gender"], "calibrated_epochs": 1, "calibrated_steps": 2}
    ours = trained(make_config, ml100k, "DMF", train_batch_size=1024, **values)
    assert len(steps_of(ours)) == 2  # of the undefended epoch, and of the steps between two pulls
    assert ours.pull.step == ours.epoch_steps


def test_a_step_of_ones_own_is_launched_and_the_log_says_so_once(make_config, ml100k, on_device, caplog):
    def change(trainer):
        class Mine(type(trainer.model)):
            pass

        trainer.model.__class__ = Mine

    with caplog.at_level(logging.INFO):
        ours = trained(make_config, ml100k, change=change)
    assert not steps_of(ours)
    assert caplog.text.count("cannot be recorded") == 1


def test_a_subclass_of_a_trainer_is_not_recorded_unless_it_says_that_it_may_be(make_config, ml100k, on_device):
    def change(trainer):
        class Mine(type(trainer)):
            pass

        trainer.__class__ = Mine

    assert not steps_of(trained(make_config, ml100k, change=change))


@pytest.mark.parametrize(("learner", "recorded"), [("adam", True), ("sgd", True), ("adagrad", False)])
def test_an_optimizer_that_cannot_be_recorded_is_launched(make_config, ml100k, on_device, learner, recorded):
    assert bool(steps_of(trained(make_config, ml100k, learner=learner))) is recorded


def test_weights_that_were_replaced_are_recorded_anew(make_config, ml100k, on_device):
    ours = trained(make_config, ml100k)
    (before,) = steps_of(ours)
    ours.optimizer.load_state_dict(ours.optimizer.state_dict())
    ours._train_epoch([next(iter(ours.loader))] if hasattr(ours, "loader") else [], 2)
    assert before not in steps_of(ours)


def test_a_loss_that_is_not_finite_is_said_at_the_end_of_the_epoch(make_config, ml100k, on_device):
    def change(trainer):
        with torch.no_grad():
            trainer.model.user_embedding.weight[7] = torch.nan

    with pytest.raises(ConfigValueError, match="loss is no longer finite"):
        trained(make_config, ml100k, change=change)


def test_gradients_are_clipped(make_config, ml100k, monkeypatch):
    clip = {"clip_grad_norm": {"max_norm": 1e-3, "norm_type": 2}, "learner": "sgd"}
    stock, free = trained(make_config, ml100k, **clip), trained(make_config, ml100k, learner="sgd")
    monkeypatch.setattr(DeviceEpochs, "takes", staticmethod(lambda trainer: True))
    ours = trained(make_config, ml100k, **clip)
    assert torch.equal(ours.model.user_embedding.weight, stock.model.user_embedding.weight)
    assert not torch.equal(ours.model.user_embedding.weight, free.model.user_embedding.weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_a_replay_does_what_the_launched_step_does_and_a_seed_gives_one_result(make_config, ml100k, model):
    def launch(trainer):
        trainer.step_kind = lambda: None

    ours, again, launched = (
        trained(make_config, ml100k, model, gpu_id="0", use_gpu=True, change=change)
        for change in (lambda trainer: None, lambda trainer: None, launch)
    )
    assert steps_of(ours)
    assert not steps_of(launched)
    for a, b, c in zip(*(each.model.parameters() for each in (ours, again, launched)), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-6)
