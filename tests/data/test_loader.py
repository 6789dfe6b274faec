import copy
from itertools import islice

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.utils import init_seed
from scipy.stats import chisquare

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import prepare_loaders
from recbole_aia.data.loader import FastTrainDataLoader

UNIFORM = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False}
VARIANTS = {
    "pairwise": ("BPR", UNIFORM),
    "pointwise": ("NeuMF", UNIFORM),
    "four negatives": ("BPR", {**UNIFORM, "sample_num": 4}),
    "by popularity": ("NeuMF", {**UNIFORM, "distribution": "popularity", "alpha": 0.5}),
    "the hardest of three": ("BPR", {**UNIFORM, "dynamic": True, "candidate_num": 3}),
}


class FirstItems:
    """A stand-in for a model, which dynamic sampling asks for scores."""

    device = "cpu"

    def eval(self): ...

    def train(self): ...

    def predict(self, interaction):
        return -interaction["item_id"].float()


@pytest.fixture
def loaders(ml100k):
    def make(name, sampling, **values):
        pair = []
        for fast in (True, False):
            settings = {"fast": fast, "train_neg_sample_args": sampling, **values}
            config = AIAConfig(name, "ml-100k", config_dict=settings, argv=[])
            init_seed(5, True)
            loader = prepare_loaders(config, copy.deepcopy(ml100k))[0]
            loader.get_model(FirstItems())
            pair.append(loader)
        return pair

    return make


@pytest.mark.parametrize(("name", "sampling"), list(VARIANTS.values()), ids=list(VARIANTS))
def test_batches_of_epochs_are_stock_recboles_bit_by_bit(loaders, name, sampling):
    fast, stock = loaders(name, sampling, train_batch_size=4096)
    assert type(fast) is FastTrainDataLoader
    assert type(stock) is TrainDataLoader
    assert len(fast) == len(stock)
    epochs = []
    for loader in (fast, stock):
        init_seed(7, True)
        # The first is left halfway, as by an error that is caught.
        epochs.append([list(islice(loader, 5)), list(loader), list(loader)])
    for ours, theirs in zip(*epochs, strict=True):
        for batch, expected in zip(ours, theirs, strict=True):
            assert batch.columns == expected.columns
            assert all(torch.equal(batch[name], expected[name]) for name in expected.columns)


def test_one_user_alone_gets_stock_recboles_negatives(loaders):
    fast, stock = loaders("BPR", UNIFORM)
    drawn = []
    for loader in (fast, stock):
        np.random.seed(1)
        drawn.append(loader._sampler.sample_by_user_ids(np.full(500, 13), None, 2))
    assert torch.equal(*drawn)


def test_an_unshuffled_epoch_keeps_the_order_of_the_data(loaders):
    fast, _ = loaders("BPR", UNIFORM, shuffle=False)
    users = torch.cat([batch["user_id"] for batch in fast])
    assert torch.equal(users, fast._dataset.inter_feat["user_id"])


def test_negatives_are_uniform_over_what_the_user_has_not(loaders):
    fast, _ = loaders("BPR", UNIFORM)
    user = 13
    unused = np.setdiff1d(np.arange(1, fast._dataset.item_num), list(fast._sampler.used_ids[user]))
    drawn = fast._sampler.sample_by_user_ids(np.full(400_000, user), None, 1).numpy()
    counts = np.bincount(drawn, minlength=fast._dataset.item_num)
    assert counts.sum() == counts[unused].sum()
    assert chisquare(counts[unused]).pvalue > 1e-3


def test_worker_processes_are_left_to_torch(loaders):
    fast, _ = loaders("BPR", UNIFORM, worker=1, train_batch_size=40_000)
    assert sum(len(batch) for batch in fast) == len(fast._dataset)


def test_evaluation_is_stock_recboles_in_larger_batches_where_users_are_scored_at_once(ml100k, make_config):
    wide, plain = (
        prepare_loaders(make_config("BPR", eval_batch_size=4096), copy.deepcopy(ml100k), scores_users=scores_users)[2]
        for scores_users in (True, False)
    )
    assert type(plain) is FullSortEvalDataLoader
    assert len(wide) < len(plain) / 100
    (users, *pairs), (plain_users, *plain_pairs) = map(evaluated, (wide, plain))
    assert torch.equal(users, plain_users)
    for ours, theirs in zip(pairs, plain_pairs, strict=True):
        assert torch.equal(ours, theirs)


def evaluated(loader):
    """Users, and what is masked and what is sought for each, as pairs of user and item over all batches."""
    batches = list(loader)
    history = [(users["user_id"][rows], items) for users, (rows, items), _, _ in batches]
    sought = [(users["user_id"][rows], items) for users, _, rows, items in batches]
    columns = [torch.cat(column) for pairs in (history, sought) for column in zip(*pairs, strict=True)]
    return [torch.cat([users["user_id"] for users, _, _, _ in batches]), *columns]


def test_a_loader_can_be_copied(loaders):
    fast, _ = loaders("BPR", UNIFORM)
    copied = copy.deepcopy(fast)
    np.random.seed(0)
    first = next(iter(fast))["neg_item_id"]
    np.random.seed(0)
    assert torch.equal(next(iter(copied))["neg_item_id"], first)
