"""Trainings and unlearnings of every kind of state are interrupted and go on to the same numbers."""

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.synthetic import generate, write
from recbole_aia.model import build_model
from recbole_aia.testing.defenses import EverySnapshot
from recbole_aia.trainer import trainer_class

SMALL = {
    "show_progress": False,
    "epochs": 5,
    "eval_step": 1,
    "embedding_size": 8,
    "train_batch_size": 64,
    "mlp_hidden_size": [8],
    "user_embedding_size": 8,
    "item_embedding_size": 8,
    "user_hidden_size_list": [8],
    "item_hidden_size_list": [8],
    "raid_atoms": 8,
    "raid_phase1_epochs": 1,
    "raid_refresh_epochs": 2,
    "calibrated_steps": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write(generate(60, 40, 900, leak=3.0), place)
    return place


@pytest.fixture
def prepare(folder, tmp_path):
    """Makes a trainer, and its loaders, anew each time."""

    def make(model, values, snapshots):
        defense = values.get("defense", "none")
        settings = {
            k: v for k, v in SMALL.items() if not k.startswith(("raid_", "calibrated_")) or k.startswith(defense)
        }
        places = {"data_path": str(folder), "checkpoint_dir": str(tmp_path / "saved")}
        config = AIAConfig(model, "synthetic", config_dict={**settings, **places, **values}, argv=[])
        init_seed(config["seed"], config["reproducibility"])
        loaders = prepare_loaders(config, create_dataset(config))
        trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
        trainer.saved_model_file = str(tmp_path / "best.pth")
        trainer.snapshots = snapshots
        return trainer, loaders

    return make


def stop_after(last):
    def after_epoch(epoch):
        if epoch == last:
            raise KeyboardInterrupt

    return after_epoch


RAID = {"defense": "raid"}
CALIBRATED = {"defense": "calibrated"}
TOWER = {**CALIBRATED, "epochs": 4, "train_batch_size": 256}
SAMPLED = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni20"}
TRAININGS = {
    "early stopping": ("BPR", {"stopping_step": 1, "epochs": 20, "learning_rate": 0.05}),
    "sampled evaluation": ("BPR", {"eval_args": SAMPLED}),
    "stock loaders and dropout": ("NeuMF", {"fast": False, "dropout_prob": 0.3, "learner": "adagrad"}),
    "popular negatives": ("BPR", {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2}}),
    "adversarial, parts of users": ("LightGCN", {"defense": "adversarial", "adversarial_batch_users": 16}),
    "adversarial, stop at chance": ("BPR", {"defense": "adversarial", "calibrate": True}),
    "rap, parts of users": ("DMF", {"defense": "rap", "rap_batch_users": 16}),
    "swd, parts of users": ("NeuMF", {"defense": "swd", "swd_batch_users": 16}),
    "blurme, early stopping": ("BPR", {"defense": "blurme", "blurme_folds": 2, "stopping_step": 1, "epochs": 20}),
    "raid, parts of users": ("LightGCN", {**RAID, "raid_batch_users": 16}),
    "raid, stop at chance": ("BPR", {**RAID, "calibrate": True}),
    "raid, to the letter": ("BPR", {**RAID, "preset": "paper", "learning_rate": 0.1}),
    "raid, best after phase 1": ("BPR", {**RAID, "select": "valid_after_phase1"}),
    "calibrated, averages": ("BPR", {**CALIBRATED, "calibrated_epochs": 3}),
    "calibrated, own labels": ("NeuMF", {**CALIBRATED, "calibrated_labels": "own"}),
    "calibrated tower": ("DMF", {**CALIBRATED, "epochs": 4, "train_batch_size": 256}),
    "calibrated tower, own labels": (
        "DMF",
        {**CALIBRATED, "calibrated_labels": "own", "epochs": 4, "train_batch_size": 256},
    ),
    "u2u": ("BPR", {"defense": "u2u", "stage": "in"}),
    "an annealed KL loss": ("MultiVAE", {"mlp_hidden_size": [8], "total_anneal_steps": 20, "train_batch_size": 256}),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_an_interrupted_training_goes_on_to_the_same_numbers(prepare, tmp_path, name):
    def fit(after_epoch, snapshots):
        trainer, (train_data, valid_data, test_data) = prepare(*TRAININGS[name], snapshots)
        trainer.after_epoch = after_epoch
        found = trainer.fit(train_data, valid_data)
        numbers = trainer.train_loss_dict, trainer.curves.epochs
        return found, trainer.evaluate(test_data), trainer.model.state_dict(), numbers

    alone = fit(None, None)
    (tmp_path / "best.pth").unlink()
    with pytest.raises(KeyboardInterrupt):
        fit(stop_after(2), EverySnapshot(tmp_path / "kept"))
    again = fit(None, EverySnapshot(tmp_path / "kept"))
    assert again[0][0] == alone[0][0]
    assert dict(again[0][1]) == dict(alone[0][1])
    assert again[1] == alone[1]
    assert all(torch.equal(alone[2][key], value) for key, value in again[2].items())
    assert again[3] == alone[3]


def test_without_the_best_state_beside_it_a_snapshot_does_not_count(prepare, tmp_path):
    trainer, (train_data, valid_data, _) = prepare("BPR", {}, EverySnapshot(tmp_path / "kept"))
    trainer.after_epoch = stop_after(2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train_data, valid_data)
    assert trainer.last_snapshot() is not None
    (tmp_path / "best.pth").unlink()
    assert trainer.last_snapshot() is None


def test_a_defense_that_does_not_say_so_begins_anew(prepare, tmp_path):
    trainer, (train_data, valid_data, _) = prepare("BPR", RAID, EverySnapshot(tmp_path / "kept"))
    trainer.__class__ = type("Subclass", (type(trainer),), {})
    trainer.fit(train_data, valid_data)
    assert trainer.snapshots.last() is None


UNLEARNINGS = {
    "data_dependent, part of the users": {"attrcloak_mode": "data_dependent"},
    "data_free": {"attrcloak_mode": "data_free"},
    "to the letter": {"preset": "paper"},
    "stop at chance": {"calibrate": True},
    "stock loader": {"fast": False},
}


@pytest.mark.parametrize("name", UNLEARNINGS)
def test_an_interrupted_unlearning_goes_on_to_the_same_numbers(prepare, tmp_path, name):
    class Stopping(EverySnapshot):
        def save(self, state):
            super().save(state)
            if state["step"] == 20:
                raise KeyboardInterrupt

    users = torch.arange(1, 50) if "part" in name else None

    def unlearn(snapshots):
        values = {"defense": "attrcloak", "unlearn_max_steps": 45, "unlearn_tolerance": 0, **UNLEARNINGS[name]}
        trainer, (train_data, _, _) = prepare("BPR", values, snapshots)
        labels = load_labels(trainer.config, train_data.dataset)
        with torch.no_grad():  # classes that can be told apart, so that there is something to hide
            trainer.model.user_embedding.weight[:, 0] += labels.labels[:, 0]
        record = trainer.unlearn(train_data if trainer.uses_interactions else None, labels=labels, users=users)
        return trainer.model.state_dict(), {key: value for key, value in record.items() if key != "when"}

    alone = unlearn(None)
    with pytest.raises(KeyboardInterrupt):
        unlearn(Stopping(tmp_path / "kept"))
    again = unlearn(EverySnapshot(tmp_path / "kept"))
    assert again[1] == alone[1]
    assert all(torch.equal(alone[0][key], value) for key, value in again[0].items())
