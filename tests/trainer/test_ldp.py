"""LDP-SH on a model."""

import numpy as np
import pytest
import torch

from recbole_aia.data import prepare_loaders
from recbole_aia.data.edits import profiles_of
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.losses import Reports
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import ldp, trainer_class


def prepared(make_config, ml100k, model="BPR", **values):
    config = make_config(model, defense="ldp", **{"embedding_size": 4, "ldp_rounds": 2, "ldp_rows": 4, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    return trainer_class(config)(config, build_model(config, loaders[0].dataset)), loaders


def test_rounds_share_the_budget(make_config, ml100k, monkeypatch):
    spent, plain = [], ldp.random_responses

    def counted(vectors, epsilon, rng):
        spent.append(epsilon)
        return plain(vectors, epsilon, rng)

    monkeypatch.setattr(ldp, "random_responses", counted)
    trainer, loaders = prepared(make_config, ml100k, ldp_epsilon=3.0, ldp_rounds=5)
    trainer.fit(loaders[0], saved=False)
    assert len(spent) == 5
    assert sum(spent) == pytest.approx(3.0)


def test_the_server_learns_nothing_but_the_bits(make_config, ml100k, monkeypatch):
    """Equal bits give equal items, whatever the users have."""

    def made_up(vectors, *_):
        rng = np.random.default_rng(3)
        return Reports(rng.integers(vectors.shape[1], size=len(vectors)), rng.normal(size=len(vectors)))

    monkeypatch.setattr(ldp, "random_responses", made_up)
    trainer, loaders = prepared(make_config, ml100k)
    profiles = profiles_of(loaders[0].dataset)
    items = []
    for rows in (profiles, profiles[::-1]):
        factors = ldp.PrivateFactors(trainer.config, rows, 4)
        factors.run(np.random.default_rng(0))
        items.append(factors.items)
    assert np.array_equal(*items)


def test_a_users_vector_solves_the_users_own_problem(make_config, ml100k):
    trainer, loaders = prepared(make_config, ml100k)
    profiles = profiles_of(loaders[0].dataset)
    factors = ldp.PrivateFactors(trainer.config, profiles, 4)
    users, own = torch.tensor(factors.users()[:20]).requires_grad_(), torch.tensor(profiles[:20].toarray())
    scores = users @ torch.tensor(factors.items).t()
    weights = torch.where(own > 0, 1.0, trainer.config["ldp_unseen"])
    loss = (weights * (own - scores) ** 2).sum() + trainer.config["ldp_ridge"] * users.square().sum()
    (gradient,) = torch.autograd.grad(loss, users)
    assert float(gradient.abs().max()) < 1e-5


def test_gradients_are_the_projected_gradients_of_that_problem(make_config, ml100k):
    trainer, loaders = prepared(make_config, ml100k)
    profiles = profiles_of(loaders[0].dataset)
    factors = ldp.PrivateFactors(trainer.config, profiles, 4)
    projection = np.random.default_rng(0).normal(size=(3, profiles.shape[1]))
    items = torch.tensor(factors.items).requires_grad_()
    own, user = torch.tensor(profiles[7].toarray()[0]), torch.tensor(factors.users()[7])
    weights = torch.where(own > 0, 1.0, trainer.config["ldp_unseen"])
    loss = 0.5 * (weights * (own - items @ user) ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, items)
    expected = (torch.tensor(projection) @ gradient).flatten().numpy()
    np.testing.assert_allclose(factors.gradients(projection)[6], expected, atol=1e-10)


def test_without_noise_it_recommends_better_than_random_items(make_config, ml100k, monkeypatch):
    """The rounds do learn: every coordinate is known in place of one bit."""

    def all_of_it(vectors, *_):
        n, width = vectors.shape
        return Reports(np.tile(np.arange(width), n), vectors.ravel())

    monkeypatch.setattr(ldp, "random_responses", all_of_it)
    found = []
    for rounds in (1, 15):
        trainer, loaders = prepared(make_config, ml100k, ldp_rounds=rounds, ldp_rows=128, ldp_kept=0.0)
        found.append(trainer.fit(loaders[0], loaders[1], saved=False)[1]["ndcg@10"])
    assert found[1] > found[0]


@pytest.mark.parametrize("model", ["NeuMF", "LightGCN", "DMF", "MultiVAE"])
def test_a_model_of_more_than_two_tables_is_refused(make_config, ml100k, model):
    config = make_config(model, defense="ldp")
    with pytest.raises(UnsupportedModelError, match="--model=BPR"):
        trainer_class(config).check(config, ["gender"])
