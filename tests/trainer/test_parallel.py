"""Several processes train what one trains: the losses of steps, the metrics, the users, and what is kept."""

import pytest
import torch
from processes import together
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.synthetic import GROUP, Planted, generate, write
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model, scores_users
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
    "calibrated": {"calibrated_steps": 5, "calibrated_epochs": 2},
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


def train(config, dataset, file, snapshots=None, until=None):
    """Losses of epochs, validation and test metrics, and the users in the end."""
    init_seed(config["seed"], config["reproducibility"])
    loaders = prepare_loaders(config, dataset, scores_users=scores_users(config))
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    trainer.saved_model_file, trainer.snapshots = str(file), None if ranks().rank else snapshots
    if until is not None and not ranks().rank:
        trainer.after_epoch = until
    _, valid = trainer.fit(*loaders[:2])
    losses = {epoch: float(loss) for epoch, loss in trainer.train_loss_dict.items()}
    test = trainer.evaluate(loaders[2])
    with torch.no_grad():
        return losses, dict(valid), dict(test), trainer.view.served().numpy()


def assert_alike(found, wanted, tolerance=1e-5):
    for ours, theirs in zip(found[:3], wanted[:3], strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    assert found[3] == pytest.approx(wanted[3], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("model", ["LightGCN", "NeuMF"])
def test_every_step_has_the_loss_of_one_process(folder, tmp_path, model, defense, count):
    # One batch has all 840 interactions and their negatives: an epoch is a step.
    config, dataset = small(folder, tmp_path, model, defense, train_batch_size=4096)
    alone = train(config, split_once(dataset), tmp_path / "alone.pth")
    found = together(count, train, config, split_once(dataset), tmp_path / "together.pth")
    assert len(alone[0]) == (0 if defense == "attrcloak" else 3)
    for each in found:
        assert_alike(each, alone)
        assert (each[:3], each[3].tolist()) == (found[0][:3], found[0][3].tolist())
