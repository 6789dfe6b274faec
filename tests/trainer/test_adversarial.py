"""Adversarial training on a model."""

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.data import defense_labels, load_numbers, prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class

SMALL = {
    "embedding_size": 8,
    "epochs": 1,
    "adversarial_count": 2,
    "adversarial_hidden": 8,
    "train_batch_size": 8192,
    "attributes": ["gender", "age"],
}


def prepared(make_config, ml100k, model="BPR", **values):
    config = make_config(model, defense="adversarial", **{**SMALL, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(0, True)
    return trainer_class(config)(config, build_model(config, loaders[0].dataset)), loaders


def fitted(*args, **values):
    trainer, loaders = prepared(*args, **values)
    trainer.fit(loaders[0], saved=False)
    return trainer


def test_the_reversed_gradient_raises_the_loss_of_the_networks(make_config, ml100k):
    """The same networks, on users trained with and without them."""
    losses = []
    for weight in (0.0, 1.0):
        trainer = fitted(make_config, ml100k, epochs=4, adversarial_weight=weight, learning_rate=0.01)
        with torch.no_grad():
            losses.append(sum(float(term()) for term in trainer.terms))
    assert losses[1] > losses[0]


def test_a_weight_of_zero_is_the_undefended_training(make_config, ml100k):
    trainer = fitted(make_config, ml100k, adversarial_weight=0.0)
    config = make_config(embedding_size=8, train_batch_size=8192, attributes=["gender"])
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(0, True)
    plain = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    plain.fit(loaders[0], saved=False)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name])


def test_users_are_drawn_evenly_unless_interactions_draw_them(make_config, ml100k):
    heard = {}
    for draw in ("users", "interactions"):
        trainer = fitted(make_config, ml100k, adversarial_draw=draw, adversarial_batch_users=64)
        (term, _), activity = trainer.terms, trainer.labels.activity().float()
        drawn = torch.cat([term.users[term.draw()] for _ in range(200)])
        heard[draw] = float(activity[drawn - 1].mean() / activity.mean())
    assert heard["users"] == pytest.approx(1, abs=0.05)
    assert heard["interactions"] > 1.5


def test_an_age_is_predicted_as_a_number_of_each_user(make_config, ml100k):
    trainer = fitted(make_config, ml100k, adversarial_regression=["age"])
    gender, age = trainer.terms
    assert gender.networks.class_weights is not None
    assert age.networks.class_weights is None
    assert float(age.targets.mean()) == pytest.approx(0, abs=1e-5)
    numbers = load_numbers(trainer.config, ml100k, "age")
    assert (float(numbers[1:].min()), float(numbers[1:].max())) == (7, 73)
    table = trainer.labels.column("age")
    assert (numbers[table == 0] < 35).all()
    assert (numbers[table == 2] >= 46).all()


def test_held_out_users_train_no_network_that_predicts_numbers(make_config, ml100k):
    trainer = fitted(make_config, ml100k, adversarial_regression="age", holdout_users=0.2)
    seen = trainer.labels.column("age") >= 0
    assert torch.equal(trainer.terms[1].users, seen.nonzero().squeeze(1))
    assert seen.sum() < 800


@pytest.mark.parametrize(
    ("attributes", "regressed", "error", "says"),
    [
        (["gender"], "age", ConfigValueError, "which is none of gender"),
        (["gender"], "gender", AttributeDataError, "holds no numbers"),
    ],
)
def test_what_is_no_number_cannot_be_predicted_as_one(make_config, ml100k, attributes, regressed, error, says):
    with pytest.raises(error, match=says):
        fitted(make_config, ml100k, attributes=attributes, adversarial_regression=regressed)


def test_after_training_it_goes_on_for_its_own_epochs(make_config, ml100k):
    trainer, _ = prepared(make_config, ml100k, stage="post", adversarial_post_epochs=3, epochs=7)
    trainer._dataset, trainer.labels = ml100k, defense_labels(trainer.config, ml100k)
    assert [phase.epochs for phase in trainer.phases()] == [3]
