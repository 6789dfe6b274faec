import logging

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_aia import AttackHook, AttributeInferenceEvaluator
from recbole_aia.data import load_labels, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model, scores_users
from recbole_aia.testing import split_once
from recbole_aia.trainer import train, trainer_class, undefended_twin

QUICK = {"attackers": ["logistic"], "attack_permutations": 20, "attack_jobs": 1, "attributes": ["gender"]}


def trained(config, dataset, path, every=None):
    """The state that is kept, and the epochs after which there was an attack."""
    attacked = []

    class Noted(AttackHook):
        def __call__(self, epoch):
            super().__call__(epoch)
            attacked.append(epoch)

    labels = load_labels(config, dataset)
    train(config, dataset, path, (lambda trainer: Noted(trainer, labels, every)) if every else None)
    return torch.load(path, weights_only=True), attacked


@pytest.mark.parametrize(("model", "defense"), [("BPR", "none"), ("LightGCN", "raid"), ("DMF", "none")])
def test_training_is_the_same_bit_by_bit_with_and_without_it(model, defense, make_config, ml100k, tmp_path):
    schedule = {"raid_phase1_epochs": 1, "epochs": 2} if defense == "raid" else {"epochs": 2, "eval_step": 1}
    config = make_config(model, defense=defense, train_batch_size=8192, **schedule, **QUICK)
    plain, _ = trained(config, ml100k, tmp_path / "plain.pth")
    watched, attacked = trained(config, ml100k, tmp_path / "watched.pth", every=1)
    assert attacked == [0, 1]
    assert plain["state_dict"].keys() == watched["state_dict"].keys()
    for name, values in plain["state_dict"].items():
        assert torch.equal(values, watched["state_dict"][name]), name


@pytest.fixture
def trainer(make_config, ml100k):
    config = make_config("BPR", defense="none", epochs=4, **QUICK)
    parts = prepare_loaders(config, split_once(ml100k), scores_users=scores_users(config))
    trainer = trainer_class(config)(config, build_model(config, parts[0].dataset))
    trainer.after_epoch = AttackHook(trainer, load_labels(config, parts[0].dataset), every=2)
    trainer.fit(parts[0], show_progress=False)
    return trainer


def test_every_nth_epoch_is_in_tensorboard_as_an_evaluation_would_find_it(trainer):
    folder = trainer.tensorboard.log_dir
    trainer.tensorboard.flush()
    events = EventAccumulator(folder).Reload().Scalars("Attack/gender/logistic/advantage")
    assert [event.step for event in events] == [1, 3]
    labels = trainer.after_epoch.labels
    evaluator = AttributeInferenceEvaluator(trainer.config, attack_repeats=1)
    report = evaluator.evaluate(
        trainer.view.served().detach().cpu().numpy(), labels.columns(), class_names=labels.classes
    )
    assert events[-1].value == pytest.approx(report.worst_case()["gender"]["advantage"], abs=1e-6)


def test_other_ranks_do_not_attack(trainer, monkeypatch):
    """The rank among all machines counts: each of them has a process whose local rank is 0."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    before = trainer.after_epoch.seconds
    trainer.after_epoch(1)
    assert trainer.after_epoch.seconds == before > 0


def test_the_log_says_who_gains_and_what_chance_would(trainer, caplog):
    caplog.set_level(logging.INFO)
    trainer.after_epoch(1)
    assert "logistic, floor 0." in caplog.text


def test_a_run_is_told_by_a_key(make_config):
    assert make_config(attack_every=3)["attack_every"] == 3
    with pytest.raises(ConfigValueError, match="attack_every is 0"):
        make_config(attack_every=0)


def test_a_twin_that_is_reused_says_that_it_was_not_attacked(make_config, ml100k, caplog):
    config = make_config("BPR", defense="none", epochs=1, train_batch_size=8192, **QUICK)
    labels = load_labels(config, ml100k)
    caplog.set_level(logging.INFO)

    def watch(trainer):
        return AttackHook(trainer, labels, 1)

    undefended_twin(config, ml100k, watch)
    assert "has no epochs" not in caplog.text
    undefended_twin(config, ml100k, watch)
    assert "has no epochs to attack after" in caplog.text
