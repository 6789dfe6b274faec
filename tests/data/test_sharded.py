"""Datasets on shards against the same datasets as text: every number is the same."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from recbole.utils import init_seed
from shards import ML_100K, as_shards

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import check_dataset, create_dataset, files_digest, prepare_loaders
from recbole_aia.data.loader import CompactSampler
from recbole_aia.data.mapped import MappedInteraction
from recbole_aia.errors import AttributeDataError, ConfigValueError

ALL = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
SETTINGS = {
    "defaults": {},
    "last by time": {
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    },
    "a random split": {"eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": "none", "order": "RO", "mode": "full"}},
    "a random split by user": {
        "load_col": ALL,
        "eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": "user", "order": "RO", "mode": "uni20"},
    },
    "a split by time": {"eval_args": {"split": {"TS": [8, 1, 1]}, "group_by": "user", "order": "TO", "mode": "full"}},
    "filters": {
        "load_col": ALL,
        "user_inter_num_interval": "[5,inf)",
        "item_inter_num_interval": "[3,30]",
        "val_interval": {"rating": "[3,inf)"},
    },
    "some users": {"val_interval": {"user_id": ["1", "7", "22", "13", "943", "944"]}},
    "labels by threshold": {"load_col": ALL, "threshold": {"rating": 4}},
    "normalized": {"load_col": ALL, "normalize_all": True, "rm_dup_inter": "first"},
    "users' features": {"load_col": {"user": ["user_id", "gender"], **ALL}},
    "popular negatives": {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2, "alpha": 1.0}},
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The first lines of ml-100k, as text and as shards."""
    root = tmp_path_factory.mktemp("data")
    (root / "text" / "small").mkdir(parents=True)
    text = root / "text" / "small" / "small.inter"
    text.write_text("".join(ML_100K.read_text().splitlines(keepends=True)[:6_000]))
    as_shards(text, root / "shards", "small", rows=700)
    for kind in ("text", "shards"):
        shutil.copy(ML_100K.with_suffix(".user"), root / kind / "small" / "small.user")
    return {kind: str(root / kind) for kind in ("text", "shards")}


def configured(place, **values):
    return AIAConfig("BPR", "small", config_dict={"data_path": place, "attributes": ["gender"], **values}, argv=[])


def loaded(place, **values):
    config = configured(place, **values)
    dataset = create_dataset(config)
    init_seed(config["seed"], True)
    check_dataset(config, dataset)
    return config, dataset, prepare_loaders(config, copy.deepcopy(dataset), scores_users=True)


def batches(loader):
    init_seed(1, True)
    return list(loader)


def pairs(history):
    return set(zip(*(part.tolist() for part in history), strict=True))


def same(left, right):
    assert left.columns == right.columns
    for name in left.columns:
        assert left[name].dtype == right[name].dtype, name
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS)
def test_every_split_batch_and_negative_is_that_of_the_text(values, places):
    (_, text, of_text), (_, shards, of_shards) = (loaded(places[kind], **values) for kind in ("text", "shards"))
    assert text.field2id_token.keys() == shards.field2id_token.keys()
    for name in text.field2id_token:
        np.testing.assert_array_equal(text.field2id_token[name], shards.field2id_token[name])
    assert text.numbering.digest == shards.numbering.digest
    np.testing.assert_array_equal(text.numbering.order, shards.numbering.order)
    for one, other in zip(of_text, of_shards, strict=True):
        same(one._dataset.inter_feat, other._dataset.inter_feat)
    for phase in range(3):
        for one, other in zip(*(batches(loaders[phase]) for loaders in (of_text, of_shards)), strict=True):
            if not phase:
                same(one, other)
                continue
            same(one[0], other[0])
            if isinstance(one[1], tuple):
                assert pairs(one[1]) == pairs(other[1])
