import copy

import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import prepare_loaders
from recbole_aia.model import build_model, scores_users
from recbole_aia.model.fast import _holds_sparse
from recbole_aia.testing import split_once

#: Every fast model, and every switch of a model that changes its computation.
VARIANTS = {
    "LightGCN": ("LightGCN", {}),
    "NGCF": ("NGCF", {}),
    "NGCF dropping nodes": ("NGCF", {"node_dropout": 0.3}),
    "DMF": ("DMF", {}),
    "DMF on ratings": ("DMF", {"inter_matrix_type": "rating"}),
    "MultiVAE": ("MultiVAE", {}),
    "MultiVAE without hidden layers": ("MultiVAE", {"mlp_hidden_size": [], "anneal_cap": 0.8, "total_anneal_steps": 0}),
    "NeuMF": ("NeuMF", {}),
    "NeuMF without its MLP": ("NeuMF", {"mlp_train": False}),
    "NeuMF without its factorisation": ("NeuMF", {"mf_train": False, "mlp_hidden_size": [32]}),
}


@pytest.fixture(scope="module", params=list(VARIANTS.values()), ids=list(VARIANTS))
def pair(request, ml100k):
    """The fast and the stock model from the same seed, and a batch."""
    name, values = request.param
    models = []
    for fast in (True, False):
        config = AIAConfig(name, "ml-100k", config_dict={"fast": fast, **values}, argv=[])
        init_seed(3, True)
        train_data, _, _ = prepare_loaders(config, split_once(ml100k))
        init_seed(3, True)
        models.append(build_model(config, train_data.dataset))
    return (*models, next(iter(train_data)).to(models[0].device))


def test_the_seed_gives_the_same_parameters_and_state_dicts_are_interchangeable(pair):
    fast, stock, _ = pair
    assert type(fast) is not type(stock)
    for (name, ours), (other, theirs) in zip(fast.state_dict().items(), stock.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(ours, theirs)
    fast.load_state_dict(stock.state_dict())
    stock.load_state_dict(fast.state_dict())


def test_losses_and_gradients_are_stock_recboles_dropout_included(pair):
    fast, stock, batch = pair
    losses = []
    for model in (fast, stock):
        model.train()
        model.zero_grad()
        torch.manual_seed(0)
        loss = model.calculate_loss(batch)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for ours, theirs in zip(fast.parameters(), stock.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None
            continue
        scale = theirs.grad.abs().max().item()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5 * scale)


def test_a_loss_by_one_lookup_is_the_loss(pair):
    fast, _, batch = pair
    if not hasattr(fast, "looked_up_loss"):
        pytest.skip("this model has no such loss")
    fast.train()
    results = []
    for loss in (fast.looked_up_loss, fast.calculate_loss):
        torch.manual_seed(0)
        value = loss(batch)
        results.append([value, *torch.autograd.grad(value.sum(), list(fast.parameters()))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@torch.no_grad()
def test_scores_are_stock_recboles(pair):
    fast, stock, batch = pair
    for model in (fast, stock):
        model.eval()
    users = batch[fast.USER_ID]  # MultiVAE's batches have no items
    items = torch.arange(len(users), device=fast.device) % fast.n_items
    pairs = Interaction({fast.USER_ID: users, fast.ITEM_ID: items})
    torch.testing.assert_close(fast.predict(pairs), stock.predict(pairs), rtol=1e-5, atol=1e-7)
    users = torch.arange(1, 40, device=fast.device)
    ours = fast.full_sort_predict(Interaction({fast.USER_ID: users}))
    torch.testing.assert_close(ours, _all_scores(stock, users), rtol=1e-5, atol=1e-7)


def test_neumf_leaves_scoring_under_dropout_to_recbole(make_config, split_ml100k):
    model = build_model(make_config("NeuMF"), split_ml100k[0].dataset)
    model.train()
    with pytest.raises(NotImplementedError, match="dropout"):
        model.full_sort_predict(Interaction({model.USER_ID: torch.arange(1, 3)}).to(model.device))


@pytest.mark.parametrize("name", ["LightGCN", "NGCF", "DMF", "MultiVAE", "NeuMF"])
def test_scores_follow_a_step_of_training(make_config, ml100k, name):
    config = make_config(name)
    train_data = prepare_loaders(config, split_once(ml100k))[0]
    model = build_model(config, train_data.dataset)
    users = Interaction({model.USER_ID: torch.arange(1, 5)}).to(model.device)
    scores = []
    for _ in range(2):
        model.eval()
        with torch.no_grad():
            scores.append(model.full_sort_predict(users))
        model.train()
        model.calculate_loss(next(iter(train_data)).to(model.device)).backward()
        torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not torch.equal(*scores)


@pytest.mark.parametrize("kind", ["01", "rating"])
def test_dmf_trains_on_repeated_interactions_as_recbole_does(make_config, ml100k, kind):
    models = []
    for fast in (True, False):
        values = {"inter_matrix_type": "rating"} if kind == "rating" else {}
        config = make_config("DMF", fast=fast, **values)
        dataset = copy.deepcopy(ml100k)
        repeated = dataset.inter_feat.iloc[:500].assign(rating=1.0)
        dataset.inter_feat = pd.concat([dataset.inter_feat, repeated], ignore_index=True)
        train_data = prepare_loaders(config, dataset)[0]
        init_seed(3, True)  # of the order in which RecBole keeps repetitions, too
        models.append(build_model(config, train_data.dataset).eval())
    users, items = (torch.arange(*ids, device=models[0].device) for ids in ((1, 200), (200, 399)))
    torch.testing.assert_close(models[0](users, items), models[1](users, items), rtol=1e-5, atol=1e-7)


def test_fast_can_be_switched_off_and_weights_reinitialised(make_config, split_ml100k):
    dataset = split_ml100k[0].dataset
    stock = build_model(make_config("LightGCN", fast=False), dataset)
    assert type(stock).__module__.startswith("recbole.")
    model = build_model(make_config("BPR", init_std=0.01), dataset)
    assert model.user_embedding.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_recboles_graph_models_are_known_by_their_sparse_matrix(make_config, split_ml100k):
    """A GPU adds up its products in no fixed order, and a warning says so."""
    for name, fast, sparse in (("LightGCN", False, True), ("LightGCN", True, False), ("BPR", True, False)):
        assert _holds_sparse(build_model(make_config(name, fast=fast), split_ml100k[0].dataset)) is sparse


def _all_scores(stock, users):
    """As RecBole's trainer scores all items, pair by pair where the model cannot."""
    try:
        return stock.full_sort_predict(Interaction({stock.USER_ID: users}))
    except NotImplementedError:
        items = torch.arange(stock.n_items, device=stock.device)
        pairs = {stock.USER_ID: users.repeat_interleave(len(items)), stock.ITEM_ID: items.repeat(len(users))}
        return stock.predict(Interaction(pairs))


@pytest.mark.parametrize(
    ("name", "fast", "expected"), [("NeuMF", True, True), ("NeuMF", False, False), ("BPR", False, True)]
)
def test_it_is_known_which_models_score_users_at_once(make_config, name, fast, expected):
    assert scores_users(make_config(name, fast=fast)) is expected
