import pytest
import torch

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import CheckpointError, ConfigValueError, UnsupportedModelError
from recbole_aia.model import UserEmbeddingView, build_model, restore
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class

USERS = torch.tensor([5, 1, 900])


@pytest.fixture
def make(make_config, ml100k):
    """A trainer, and its loaders."""

    def of(**values):
        config = make_config("MultiVAE", **{"mlp_hidden_size": [16], "latent_dimension": 16, **values})
        loaders = prepare_loaders(config, split_once(ml100k))
        torch.manual_seed(0)
        return trainer_class(config)(config, build_model(config, loaders[0].dataset)), loaders

    return of


@pytest.mark.parametrize("fast", [True, False])
def test_served_users_are_the_same_in_training_and_drawn_ones_are_not(make, fast):
    view = make(fast=fast)[0].view
    served = view.served(USERS)
    view.model.train()
    torch.testing.assert_close(view.served(USERS), served)
    drawn = [view.drawn(USERS) for _ in range(2)]
    assert not torch.allclose(*drawn)
    assert not torch.allclose(drawn[0], served)
    assert drawn[0].requires_grad
    view.model.eval()
    torch.testing.assert_close(view.drawn(USERS), served)


def test_users_without_dropout_scatter_around_the_mean_by_the_latent_noise(make):
    spreads = []
    for noise in (0.1, 1.0):
        view = make(dropout_prob=0.0, latent_noise=noise)[0].view
        view.model.train()
        with torch.no_grad():
            view.model.encoder[-1].bias[8:] = 0.0  # a variance of about one
            spreads.append(float((view.drawn() - view.served()).std()))
    assert spreads == pytest.approx([0.1, 1.0], rel=0.1)


def test_drawn_vectors_of_a_model_that_draws_none_are_served(make_config, split_ml100k):
    view = UserEmbeddingView(build_model(make_config("BPR"), split_ml100k[0].dataset).train())
    assert torch.equal(view.drawn(USERS), view.served(USERS))


def test_it_has_no_vectors_of_items(make):
    with pytest.raises(UnsupportedModelError, match="MultiVAE has no vectors of items"):
        make()[0].view.items()


def test_released_users_learn_by_the_models_loss_and_the_encoder_does_not(make):
    trainer, (train_data, _, _) = make()
    released = trainer.view.release().requires_grad_()
    trainer.recommendation_loss(next(iter(train_data))).backward()
    assert (released.grad[1:].abs().sum(1) > 0).any()
    assert all(parameter.grad is None for parameter in trainer.model.encoder.parameters())
    assert torch.equal(trainer.view.drawn(USERS), trainer.view.served(USERS))


def test_a_checkpoint_keeps_the_number_of_steps_of_the_annealing(make):
    trainer, (train_data, _, _) = make(train_batch_size=256, epochs=2)
    trainer.fit(train_data)
    assert trainer.model.update == 2 * len(train_data)
    state = torch.load(trainer.saved_model_file, weights_only=True)
    again = make()[0].model
    restore(again, state, "file")
    assert again.update == trainer.model.update
    for wrong in (-1, "2", None, 1.5):
        with pytest.raises(CheckpointError, match="trained for"):
            restore(again, {**state, "other_parameter": {"update": wrong}}, "file")


def test_half_of_the_latent_dimensions_is_the_mean(make):
    with pytest.raises(ConfigValueError, match=r"latent_dimension is 15\. Give an even number"):
        make(latent_dimension=15)
    assert make(latent_dimension=24)[0].view.served(USERS).shape == (3, 12)


def test_the_published_adversary_sees_what_is_drawn_and_its_settings_are_the_models(make_config, ml100k, monkeypatch):
    config = make_config("MultiVAE", defense="adversarial", preset="advx", epochs=1, attributes=["gender"])
    values = {
        "mlp_hidden_size": [], "latent_dimension": 200, "dropout_prob": 0.1, "latent_noise": 1.0, "anneal_cap": 0.8,
        "total_anneal_steps": 0, "learning_rate": 1e-3, "weight_decay": 1e-4, "train_batch_size": 64,
        "adversarial_batch_users": 64, "adversarial_count": 10, "adversarial_hidden": 5, "adversarial_dropout": 0.7,
        "adversarial_weight": 400.0, "adversarial_learning_rate": 1e-3, "adversarial_weight_decay": 1e-4,
    }  # fmt: skip
    assert {name: config[name] for name in values} == values
    assert make_config("MultiVAE", defense="adversarial", preset="advx")["epochs"] == 1  # the test's own, not 200
    trainer = trainer_class(config)
    assert trainer.presets_by_model["advx"]["MultiVAE"]["epochs"] == 200
    loaders = prepare_loaders(config, split_once(ml100k))
    trainer, seen = trainer(config, build_model(config, loaders[0].dataset)), []
    drawn = trainer.view.drawn
    monkeypatch.setattr(trainer.view, "drawn", lambda users: seen.append(drawn(users)) or seen[-1])
    trainer.fit(loaders[0], saved=False)
    assert len(seen) == len(loaders[0])
    assert {tuple(each.shape) for each in seen} == {(64, 100)}


@pytest.mark.parametrize(
    "values",
    [
        {"defense": "calibrated", "stage": "in"},
        {"defense": "swd"},
        {"defense": "adversarial"},
        {"defense": "u2u", "stage": "in"},
    ],
)
def test_defenses_in_training_pull_the_encoder(make, values):
    found = []
    for given in ({}, values):
        trainer, (train_data, _, _) = make(train_batch_size=512, epochs=1, attributes=["gender"], **given)
        trainer.fit(train_data, saved=False)
        found.append(trainer.view.served().detach())
    assert found[1].isfinite().all()
    assert not torch.equal(*found)
    assert trainer.view.released is None


@pytest.mark.parametrize(
    ("values", "released"),
    [
        ({"defense": "calibrated", "stage": "post", "calibrated_steps": 2}, True),
        ({"defense": "calibrated", "stage": "post", "calibrated_steps": 2, "target": "tower"}, False),
        ({"defense": "u2u", "stage": "post", "unlearn_max_steps": 2}, True),
        ({"defense": "d2d", "stage": "post", "unlearn_max_steps": 2, "target": "tower"}, False),
        ({"defense": "dp"}, True),
        ({"defense": "noise"}, True),
    ],
)
def test_defenses_after_training_move_what_is_served_or_the_encoder(make, values, released):
    trainer, (train_data, valid_data, _) = make(attributes=["gender"], **values)
    before = trainer.view.served().detach().clone()
    trainer.fit(train_data, valid_data)
    assert (trainer.view.released is not None) == released
    assert not torch.equal(trainer.view.served(), before)
    assert trainer.evaluate(valid_data) == trainer.best_valid_result


def test_noise_is_not_added_to_the_encoder(make):
    trainer, (train_data, _, _) = make(attributes=["gender"], defense="noise", target="tower")
    with pytest.raises(ConfigValueError, match="--target=released"):
        trainer.fit(train_data, saved=False)
