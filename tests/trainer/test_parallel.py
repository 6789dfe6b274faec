"""Several processes train what one trains: the losses of steps, the metrics, the users, and what is kept."""

import numpy as np
import pytest
import torch
from processes import together
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, prepare_loaders
from recbole_aia.data.synthetic import GROUP, Planted, generate, write
from recbole_aia.errors import ConfigValueError, LostProcessError
from recbole_aia.model import build_model, scores_users, sparse
from recbole_aia.ranks import ranks
from recbole_aia.testing import split_once
from recbole_aia.testing.defenses import EverySnapshot
from recbole_aia.trainer import check_parallel, trainer_class

SMALL = {
    "show_progress": False,
    "epochs": 3,
    "eval_step": 1,
    "learning_rate": 0.01,
    "embedding_size": 8,
    "mf_embedding_size": 8,
    "mlp_embedding_size": 8,
    "mlp_hidden_size": [8],
    "n_layers": 2,
}
DEFENSES = {
    "none": {},
    "raid": {"raid_atoms": 8, "raid_phase1_epochs": 1, "raid_refresh_epochs": 1},
    "attrcloak": {"unlearn_max_steps": 5},
    "calibrated": {"calibrated_steps": 5},
}
#: The last class has two users of 61, fewer than there are processes in some tests.
ATTRIBUTES = (GROUP, Planted("age", ("young", "middle", "old"), (30, 30, 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write(generate(61, 40, 900, leak=3.0, attributes=ATTRIBUTES), place)
    return place


def settings(defense, **values):
    return {**SMALL, "defense": defense, **DEFENSES[defense], **values}


def small(folder, tmp_path, model, defense, **values):
    """A configuration of a training on few users, and the data."""
    places = {"data_path": str(folder), "checkpoint_dir": str(tmp_path / "saved")}
    named = {"attributes": ["group", "age"], "attribute_specs": {name: {"field": name} for name in ("group", "age")}}
    config = AIAConfig(model, "synthetic", config_dict={**named, **places, **settings(defense, **values)}, argv=[])
    return config, create_dataset(config)


def train(config, dataset, file, snapshots=None, until=None, before=None):
    """Losses of epochs, validation and test metrics, and the users in the end; ``before`` trains the model first."""
    init_seed(config["seed"], config["reproducibility"])
    loaders = prepare_loaders(config, dataset, scores_users=scores_users(config))
    model = build_model(config, loaders[0].dataset)
    if before is not None:
        trainer_class(before)(before, model).fit(*loaders[:2], saved=False)
    trainer = trainer_class(config)(config, model)
    trainer.saved_model_file, trainer.snapshots = str(file), None if ranks().rank else snapshots
    if until is not None and not ranks().rank:
        trainer.after_epoch = until
    _, valid = trainer.fit(*loaders[:2])
    losses = {epoch: float(loss) for epoch, loss in trainer.train_loss_dict.items()}
    test = trainer.evaluate(loaders[2])
    with torch.no_grad():
        return losses, dict(valid), dict(test), trainer.view.served().numpy()


def assert_alike(found, wanted, metrics=1e-5):
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    assert found[1] == pytest.approx(wanted[1], abs=metrics)
    assert found[2] == pytest.approx(wanted[2], abs=metrics)
    # Adam takes a gradient near 0 for one of its usual size, so single entries may differ by part of a step.
    assert np.linalg.norm(found[3] - wanted[3]) <= 1e-3 * np.linalg.norm(wanted[3])


STEPS = {
    "graph": ("LightGCN", "none", 2, {}),
    "dropout": ("NeuMF", "calibrated", 2, {"calibrated_epochs": 2}),
    "more processes than users of a class": ("LightGCN", "raid", 3, {"raid_refresh_epochs": 2}),
    "more processes than columns": ("LightGCN", "none", 3, {"embedding_size": 2, "rec_loss": "bce"}),
    "parts of users": ("NeuMF", "raid", 2, {"raid_batch_users": 16, "calibrate": True}),
    "after training, clipped": ("BPR", "raid", 2, {"stage": "post", "clip_grad_norm": {"max_norm": 0.01}}),
    "cross-entropy": ("LightGCN", "none", 2, {"rec_loss": "bce", "require_pow": True, "fast": False}),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_the_loss_of_one_process(folder, tmp_path, name):
    model, defense, count, values = STEPS[name]
    # One batch has all 778 interactions and their negatives: an epoch is a step.
    config, dataset = small(folder, tmp_path, model, defense, train_batch_size=4096, **values)
    alone = train(config, split_once(dataset), tmp_path / "alone.pth")
    found = together(count, train, config, split_once(dataset), tmp_path / "together.pth")
    assert len(alone[0]) >= 2
    for each in found:
        assert_alike(each, alone)
        assert (each[:3], each[3].tolist()) == (found[0][:3], found[0][3].tolist())


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("model", ["LightGCN", "NeuMF"])
def test_three_epochs_of_ml_100k_have_the_metrics_of_one_process(make_config, ml100k, tmp_path, model, defense):
    # Two attributes would double what defenses compute. The tests of single steps have two.
    values = {"train_batch_size": 32768, "eval_step": 3, "attributes": ["age"]}
    before = make_config(model, **settings("none", **values)) if defense == "attrcloak" else None
    config = make_config(model, **settings(defense, **values))

    def run():
        return train(config, split_once(ml100k), tmp_path / f"{ranks().count}.pth", before=before)

    alone = run()
    for found in together(2, run):
        assert_alike(found, alone, metrics=1e-3)


def columns_of_products(config, dataset, file):
    """How many columns each product with the graph has, of a step and of an evaluation; forward and backward."""
    widths, times = [], sparse._Rows.times

    def counted(self, dense):
        widths.append(dense.shape[1])
        return times(self, dense)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse._Rows, "times", counted)
        train(config, dataset, file)
    return widths


def test_each_process_propagates_its_columns_and_in_evaluations_all(folder, tmp_path):
    config, dataset = small(folder, tmp_path, "LightGCN", "none", train_batch_size=4096, epochs=1)
    alone = columns_of_products(config, split_once(dataset), tmp_path / "alone.pth")
    step, others = 2 * 2, len(alone) - 2 * 2  # two layers, forward and backward
    assert set(alone) == {8}
    for found in together(3, columns_of_products, config, split_once(dataset), tmp_path / "together.pth"):
        assert found == [3] * step + [8] * others


def test_batches_with_fewer_rows_than_processes(folder, tmp_path):
    config, dataset = small(folder, tmp_path, "LightGCN", "none", train_batch_size=259, epochs=2)
    assert len(split_once(dataset).build()[0]) % 259 == 1  # the last batch of an epoch has one row
    alone = train(config, split_once(dataset), tmp_path / "alone.pth")
    assert_alike(together(2, train, config, split_once(dataset), tmp_path / "together.pth")[0], alone)


@pytest.mark.parametrize("mode", ["uni20", "full"])
def test_metrics_are_over_all_users_however_they_are_shared(folder, tmp_path, mode):
    protocol = {"split": {"RS": [7, 1, 2]}, "order": "RO", "group_by": "user", "mode": mode}
    values = {"epochs": 1, "eval_args": protocol, "metrics": ["Hit", "NDCG", "GAUC"]}
    config, dataset = small(folder, tmp_path, "NeuMF", "none", **values)
    alone = train(config, dataset, tmp_path / "alone.pth")
    for found in together(3, train, config, create_dataset(config), tmp_path / "together.pth"):
        assert_alike(found, alone)


def stopped(epoch):
    if epoch == 1:
        raise KeyboardInterrupt


@pytest.mark.parametrize("defense", ["none", "raid"])
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(folder, tmp_path, defense, first, then):
    config, dataset = small(folder, tmp_path, "NeuMF", defense, train_batch_size=512)
    alone = train(config, split_once(dataset), tmp_path / "alone.pth")
    snapshots, file = EverySnapshot(tmp_path / "kept"), tmp_path / "again.pth"

    def interrupted():
        try:
            train(config, split_once(dataset), file, snapshots, stopped)
        except (KeyboardInterrupt, LostProcessError):
            return "interrupted"

    def again():
        return train(config, split_once(dataset), file, snapshots)

    many = together(2, interrupted)[0] if first == 2 else interrupted()
    assert many == "interrupted"
    assert snapshots.last()["epoch"] == 1
    assert_alike(together(2, again)[0] if then == 2 else again(), alone)


class TestRefusal:
    @pytest.mark.parametrize(
        ("model", "values", "said"),
        [
            ("BPR", {"defense": "adversarial"}, "adversarial does not train in several processes. Train it in one"),
            ("MultiVAE", {}, "MultiVAE does not train in several processes"),
            ("LightGCN", {"fast": False}, "LightGCN does not train"),
            ("BPR", {"enable_amp": True}, "enable_amp and enable_scaler are not for several processes"),
        ],
    )
    def test_what_would_be_trained_otherwise_is_refused_in_one_line(self, make_config, model, values, said):
        config = make_config(model, **values)
        check_parallel(trainer_class(config), config, 1)
        with pytest.raises(ConfigValueError, match=said):
            check_parallel(trainer_class(config), config, 2)

    def test_a_subclass_that_does_not_say_so_is_refused(self, make_config):
        config = make_config("BPR")
        with pytest.raises(ConfigValueError, match="none does not train in several"):
            check_parallel(type("Subclass", (trainer_class(config),), {}), config, 2)
