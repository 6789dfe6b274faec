"""RAP on a model."""

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class


def fitted(make_config, ml100k, model="BPR", **values):
    small = {
        "embedding_size": 8,
        "epochs": 1,
        "train_batch_size": 8192,
        "attributes": ["gender", "age"],
        "rap_count": 2,
    }
    config = make_config(model, defense="rap", **{**small, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(0, True)
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    trainer.fit(loaders[0], saved=False)
    return trainer


def test_attackers_see_the_mean_of_a_users_items_and_of_the_list(make_config, ml100k):
    trainer = fitted(make_config, ml100k, rap_items=3)
    term, view = trainer.terms[0], trainer.view
    users = trainer.view.users[[3, 16]]
    with torch.no_grad():
        seen, items = term.seen(users), view.items()
        for row, user in enumerate(users.tolist()):
            own = trainer.profiles[user].indices
            torch.testing.assert_close(seen[row, :8], items[own].mean(0))
            scores = view.scores(view.served(users[row : row + 1]))[0]
            scores[[0, *own]] = -torch.inf
            values, best = scores.topk(3)
            torch.testing.assert_close(seen[row, 8:], values.softmax(0) @ items[best])


def test_gradients_reach_users_and_items(make_config, ml100k):
    trainer = fitted(make_config, ml100k)
    trainer.model.zero_grad()
    trainer.terms[0]().backward()
    for table in (trainer.model.user_embedding, trainer.model.item_embedding):
        assert float(table.weight.grad.abs().sum()) > 0


def test_a_step_of_the_game_raises_the_loss_of_the_attackers(make_config, ml100k):
    trainer = fitted(make_config, ml100k, epochs=2, learning_rate=0.01)
    term, model = trainer.terms[0], trainer.model
    for _ in range(100):
        term.attackers.learn(term.seen(term.users).detach(), term.classes)

    def loss():
        return term.attackers.loss(term.seen(term.users), term.classes)

    before = loss()
    tables = [model.user_embedding.weight, model.item_embedding.weight]
    for table, gradient in zip(tables, torch.autograd.grad(before, tables), strict=True):
        with torch.no_grad():
            table.add_(0.1 * gradient / gradient.norm())
    assert float(loss()) > float(before)


@pytest.mark.parametrize("model", ["NeuMF", "MultiVAE"])
def test_a_model_that_scores_by_a_network_is_refused(make_config, model):
    config = make_config(model, defense="rap")
    with pytest.raises(UnsupportedModelError, match="Use BPR"):
        trainer_class(config).check(config, ["gender"])
