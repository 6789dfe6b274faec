"""Recorded functions and epochs of recorded steps. On a CPU, a replay calls the function with the recorded tensors."""

import contextlib
import copy
import logging
from itertools import islice

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.data import defense_labels, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer.device_epochs import DeviceEpochs, in_one_launch
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.recording import Recorded
from recbole_aia.trainer.registry import trainer_class

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
MODELS = ["BPR", "LightGCN", "NGCF", "NeuMF", "DMF"]
STEPS = 8


@pytest.fixture
def on_device(monkeypatch):
    """Lets epochs run on the CPU as they do on a GPU, but with Adam as RecBole has it, whose last bits differ."""

    def begin():
        monkeypatch.setattr(DeviceEpochs, "takes", staticmethod(lambda trainer: True))
        monkeypatch.setattr("recbole_aia.trainer.device_epochs.in_one_launch", lambda _: contextlib.nullcontext())

    return begin


@pytest.fixture
def trained(make_config, ml100k):
    """Trains through the phases of a defense on the first batches, which are the same in all epochs."""

    def train(model="BPR", change=lambda trainer: None, **values):
        config = make_config(model, **{"epochs": 2, "train_batch_size": 256, "attributes": ["gender"], **values})
        init_seed(3, True)
        data = prepare_loaders(config, split_once(ml100k))[0]
        init_seed(3, True)
        trainer = trainer_class(config)(config, build_model(config, data.dataset))
        trainer.labels, trainer.epochs = defense_labels(trainer.config, data.dataset), 0
        batches, trainer.losses = list(islice(data, STEPS)), []
        change(trainer)
        for phase in trainer.phases() if config["defense"] != "none" else [Phase(config["epochs"])]:
            trainer.terms, trainer._phase_start = phase.terms, trainer.epochs
            trainer.epochs += phase.epochs
            trainer.losses += [trainer._train_epoch(batches, n) for n in range(trainer._phase_start, trainer.epochs)]
        trainer.batches = batches
        return trainer

    return train


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


def test_what_is_replayed_is_a_copy_of_the_inputs():
    seen = []
    recorded = Recorded(lambda numbers: seen.append(numbers.data_ptr()))
    inputs = [torch.full((3,), float(i)) for i in range(9)]
    for each in inputs:
        recorded(each)
    assert len(set(seen[-5:])) == 1
    assert seen[-1] not in {each.data_ptr() for each in inputs}
    assert torch.equal(torch.stack(inputs)[:, 0], torch.arange(9.0))


@pytest.mark.parametrize("model", MODELS)
def test_epochs_of_recorded_steps_are_recboles(trained, on_device, model):
    stock = trained(model)
    on_device()
    ours = trained(model)
    (step,) = steps_of(ours)
    assert (step._calls, step._held is not None) == (2 * STEPS, True)
    for a, b in zip(ours.model.parameters(), stock.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.losses == pytest.approx(stock.losses)


RAID = {"raid_phase1_epochs": 1, "raid_atoms": 16, "epochs": 3}
DEFENSES = {
    "raid": {**RAID, "raid_refresh_epochs": 1},
    "raid, few users a step": {**RAID, "raid_batch_users": 64},
    "raid, calibrated": {**RAID, "calibrate": True},
    "raid, first refresh late": {**RAID, "raid_refresh_epochs": 2, "raid_first_refresh": "interval"},
    "raid, couplings in each step": {**RAID, "raid_couplings": "step", "raid_batch_users": 64},
    "calibrated": {"calibrated_epochs": 2, "calibrated_steps": 1},
    "u2u": {"stage": "in"},
}


@pytest.mark.parametrize("defense", DEFENSES)
def test_defended_epochs_are_the_same_too(trained, on_device, defense):
    values = {"defense": defense.split(",")[0], **DEFENSES[defense]}
    launched = trained(**values)
    on_device()
    ours = trained(**values)
    assert bool(steps_of(ours)) == (defense not in ("u2u", "raid, couplings in each step"))
    for a, b in zip(ours.model.parameters(), launched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for found, expected in zip(ours.losses, launched.losses, strict=True):
        assert found == pytest.approx(expected)


def test_steps_between_two_pulls_on_a_tower_are_recorded(trained, on_device, monkeypatch):
    monkeypatch.setattr("recbole_aia.trainer.tower_pull._PULLS", 1)
    values = {"defense": "calibrated", "calibrated_epochs": 1}
    launched = trained("DMF", **values)
    on_device()
    ours = trained("DMF", **values)
    assert [step._calls for step in steps_of(ours)] == [STEPS, STEPS - 1]
    assert ours.pull.step == STEPS
    for a, b in zip(ours.model.parameters(), launched.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_of_ones_own_is_not_recorded_and_the_log_says_so_once(trained, on_device, caplog):
    def change(trainer):
        class Mine(type(trainer.model)):
            pass

        trainer.model.__class__ = Mine

    on_device()
    with caplog.at_level(logging.INFO):
        ours = trained(change=change)
    assert not steps_of(ours)
    assert caplog.text.count("cannot be recorded") == 1


def test_a_subclass_of_a_trainer_is_not_recorded_unless_it_says_that_it_may_be(trained, on_device):
    def change(trainer):
        class Mine(type(trainer)):
            pass

        trainer.__class__ = Mine

    on_device()
    assert not steps_of(trained(change=change))


@pytest.mark.parametrize(("learner", "recorded"), [("sgd", True), ("adagrad", False)])
def test_an_optimizer_that_cannot_be_recorded_is_launched(trained, on_device, learner, recorded):
    on_device()
    assert bool(steps_of(trained(learner=learner))) is recorded


def test_steps_are_recorded_anew_where_the_optimizers_memory_is_another(trained, on_device):
    on_device()
    ours = trained()
    (before,) = steps_of(ours)
    ours._train_epoch(ours.batches, 2)
    assert steps_of(ours) == [before]
    ours.optimizer.load_state_dict(copy.deepcopy(ours.optimizer.state_dict()))
    ours._train_epoch(ours.batches, 3)
    assert before not in steps_of(ours)


def test_a_loss_that_is_not_finite_is_said_at_the_end_of_the_epoch(trained, on_device):
    def change(trainer):
        with torch.no_grad():
            trainer.model.user_embedding.weight.fill_(torch.nan)

    on_device()
    with pytest.raises(ConfigValueError, match="loss is no longer finite"):
        trained(change=change)


def test_gradients_are_clipped(trained, on_device):
    clip = {"clip_grad_norm": {"max_norm": 1e-3, "norm_type": 2}, "learner": "sgd"}
    stock, free = trained(**clip), trained(learner="sgd")
    on_device()
    ours = trained(**clip)
    assert torch.equal(ours.model.user_embedding.weight, stock.model.user_embedding.weight)
    assert not torch.equal(ours.model.user_embedding.weight, free.model.user_embedding.weight)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_moves_as_ever_in_one_launch_and_keeps_its_settings(kind):
    moved = []
    for context in (contextlib.nullcontext, in_one_launch):
        parameter = torch.nn.Parameter(torch.arange(5.0))
        optimizer = kind([parameter], lr=0.1)
        settings = dict(optimizer.param_groups[0])
        for step in range(4):
            parameter.grad = torch.full((5,), step - 1.5)
            with context(optimizer) if step else contextlib.nullcontext():  # the first step is that of before
                optimizer.step()
        assert optimizer.param_groups[0] == settings
        moved.append(parameter.detach())
    torch.testing.assert_close(*moved)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_a_replay_does_what_the_launched_step_does_and_a_seed_gives_one_result(trained, model):
    def launch(trainer):
        trainer.step_kind = lambda: None

    gpu = {"gpu_id": "0", "use_gpu": True}
    ours, again, launched = trained(model, **gpu), trained(model, **gpu), trained(model, launch, **gpu)
    assert steps_of(ours)
    assert not steps_of(launched)
    for a, b, c in zip(*(each.model.parameters() for each in (ours, again, launched)), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-6)
