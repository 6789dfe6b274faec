"""Batches that are drawn on a device, here on the CPU."""

import copy

import numpy as np
import pytest
import torch
from recbole.utils import init_seed
from scipy.stats import chi2_contingency

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, prepare_loaders
from recbole_aia.data.drawn import DrawnBatches

UNIFORM = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False}
VARIANTS = {
    "pairwise": ("BPR", UNIFORM),
    "pointwise": ("NeuMF", UNIFORM),
    "four negatives": ("BPR", {**UNIFORM, "sample_num": 4}),
    "four negatives, pointwise": ("NeuMF", {**UNIFORM, "sample_num": 4}),
    "none": ("NeuMF", {**UNIFORM, "distribution": "none"}),
}
FEATURES = {
    "load_col": {"inter": ["user_id", "item_id"], "user": ["user_id", "gender"], "item": ["item_id", "release_year"]}
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture
def loader(ml100k):
    def make(name="BPR", sampling=UNIFORM, **values):
        settings = {"gpu_id": "", "train_neg_sample_args": sampling, "train_batch_size": 4096, **values}
        config = AIAConfig(name, "ml-100k", config_dict=settings, argv=[])
        init_seed(5, True)
        return prepare_loaders(config, create_dataset(config) if values else copy.deepcopy(ml100k))[0]

    return make


def epoch(loader, seed=0, device="cpu", full=None):
    drawn = DrawnBatches(loader, torch.device(device), full)
    return list(drawn.epoch(torch.Generator(device).manual_seed(seed)))


def pairs_of(batches, item="item_id"):
    return torch.cat([torch.stack([batch["user_id"], batch[item]]) for batch in batches], dim=1)


def any_used(loader, pairs):
    """Whether any user of the pairs, ``[2, n]``, has used the item."""
    known = loader._sampler.used_ids
    return any(item in known[user] for user, item in pairs.t().tolist())


@pytest.mark.parametrize(("name", "sampling"), list(VARIANTS.values()), ids=list(VARIANTS))
@pytest.mark.parametrize("values", [{}, FEATURES], ids=["interactions", "with features"])
def test_batches_are_laid_out_as_recboles(loader, name, sampling, values):
    stock = loader(name, sampling, **values)
    for ours, theirs in zip(epoch(stock), stock, strict=True):
        assert sorted(ours.columns) == sorted(theirs.columns)
        assert len(ours) == len(theirs)
        for column in theirs.columns:
            assert (ours[column].dtype, ours[column].shape) == (theirs[column].dtype, theirs[column].shape)
    if "label" in theirs.columns:
        assert torch.equal(ours["label"], theirs["label"])


@pytest.mark.parametrize("device", DEVICES)
def test_an_epoch_has_each_interaction_once_in_random_order_and_negatives_nobody_has_used(loader, device):
    data = loader()
    batches = [batch.cpu() for batch in epoch(data, device=device)]
    features = data._dataset.inter_feat
    there = torch.stack([features["user_id"], features["item_id"]])
    drawn = pairs_of(batches)
    assert not torch.equal(drawn, there)
    assert sorted(drawn.t().tolist()) == sorted(there.t().tolist())
    assert not any_used(data, pairs_of(batches, "neg_item_id"))


def test_pointwise_negatives_follow_their_positives(loader):
    data = loader("NeuMF", {**UNIFORM, "sample_num": 3})
    for batch in (epoch(data)[0], epoch(data)[-1]):
        users, labels = batch["user_id"].view(4, -1), batch["label"].view(4, -1)
        assert (users == users[0]).all()
        assert (labels[0] == 1).all()
        assert (labels[1:] == 0).all()
        negatives = torch.stack([batch["user_id"], batch["item_id"]])[:, labels.flatten() == 0]
        assert not any_used(data, negatives)


def test_features_are_those_of_the_users_and_items_of_the_batch(loader):
    data = loader(**FEATURES)
    users, items = data._dataset.user_feat, data._dataset.item_feat
    batch = epoch(data)[0]
    for prefix, features, ids in (("", users, "user_id"), ("", items, "item_id"), ("neg_", items, "neg_item_id")):
        for name in features.columns:
            assert torch.equal(batch[prefix + name], features[name][batch[ids]])


def test_a_seed_gives_the_same_epochs_again_and_each_epoch_is_another(loader):
    data = loader()
    first, again, other = (pairs_of(epoch(data, seed), "neg_item_id") for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    drawn, generator = DrawnBatches(data, torch.device("cpu")), torch.Generator()
    assert not torch.equal(*(pairs_of(drawn.epoch(generator)) for _ in range(2)))


def test_an_unshuffled_epoch_keeps_the_order_of_the_data(loader):
    data = loader(shuffle=False)
    assert torch.equal(pairs_of(epoch(data))[0], data._dataset.inter_feat["user_id"])


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_negatives_have_recboles_distribution_over_what_the_user_has_not(loader, distribution):
    data, user, size = loader(sampling={**UNIFORM, "distribution": distribution}), 13, 400_000
    negatives = DrawnBatches(data, torch.device("cpu")).negatives
    ours = negatives.draw(torch.full((size,), user), torch.Generator().manual_seed(0)).numpy()
    theirs = data._sampler.sample_by_user_ids(np.full(size, user), None, 1).numpy()
    counts = np.stack([np.bincount(part, minlength=data._dataset.item_num) for part in (ours, theirs)])
    assert chi2_contingency(counts[:, counts.sum(0) > 20]).pvalue > 1e-3


def test_users_who_have_interacted_with_all_items_are_left_out(loader):
    data = loader()
    full = torch.zeros(data._dataset.user_num, dtype=torch.bool)
    full[13] = True
    users = pairs_of(epoch(data, full=full))[0]
    assert len(users) == (data._dataset.inter_feat["user_id"] != 13).sum()
    assert not (users == 13).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_loader_draws_there_and_can_be_taken_up_again(loader):
    data = loader(gpu_id="0")
    first = next(iter(data))
    assert first["user_id"].is_cuda
    state = data.generator.get_state()
    expected = pairs_of(data)
    data.generator.set_state(state)
    assert torch.equal(pairs_of(copy.deepcopy(data)), expected)
