"""Datasets on shards against the same datasets as text: every number is the same."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.utils import init_seed
from runs import FAST
from shards import ML_100K, as_shards

from recbole_aia import run_recbole_aia
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import check_dataset, create_dataset, files_digest, prepare_loaders
from recbole_aia.data.edits import write_edited
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


@pytest.mark.parametrize("fast", [True, False])
def test_users_who_have_all_items_get_no_negatives_as_with_text(fast, tmp_path):
    rows = [f"u{user}\ti{item}\t{item}\n" for user in range(6) for item in range(4 + user % 2) if user != 5 or item < 2]
    text = tmp_path / "text" / "small" / "small.inter"
    text.parent.mkdir(parents=True)
    text.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(rows))
    as_shards(text, tmp_path / "shards", "small", rows=5)
    values = {"topk": [1], "valid_metric": "NDCG@1", "fast": fast}
    loaders = [loaded(str(tmp_path / kind), **values)[2][0] for kind in ("text", "shards")]
    for one, other in zip(*map(batches, loaders), strict=True):
        same(one, other)


def bases(array):
    while array is not None:
        yield array
        array = getattr(array, "base", None)


def test_columns_stay_mapped_and_a_process_keeps_four_bytes_an_interaction(places):
    config, dataset, (training, _, _) = loaded(places["shards"], load_col=ALL)
    features = training._dataset.inter_feat
    assert isinstance(features, MappedInteraction)
    for name, column in features.interaction.columns.items():
        assert np.shares_memory(column, dataset.inter_feat[name].to_numpy())
        assert any(isinstance(base, np.memmap) for base in bases(column))
    assert features.interaction.rows.dtype == np.int32
    assert isinstance(training._sampler._sampler, CompactSampler)
    assert files_digest(config) != files_digest(configured(places["text"]))


def test_a_run_on_shards_gives_the_numbers_of_the_text_bit_for_bit(places):
    results = {}
    for kind, place in places.items():
        folders = {"output_dir": f"out-{kind}", "checkpoint_dir": f"saved-{kind}", "data_path": place}
        values = {**FAST, **folders, "attributes": ["gender"], "defense": "none", "epochs": 2, "eval_step": 1}
        run_recbole_aia("BPR", "small", config_dict=values, argv=[])
        results[kind] = json.loads(Path(f"out-{kind}/results.json").read_text())
    for part in ("utility", "validation", "worst_case"):
        assert results["text"][part] == results["shards"][part]


def rewritten(old, new):
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new))


def repeated(path):
    first, _, *others = path.read_text().split("\n")
    path.write_text("\n".join([first, first, *others]))


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("item_id.npy", lambda path: path.unlink(), "item_id.npy' is missing. Copy it again"),
        ("item_id.npy", cut, "item_id.npy' claims|item_id.npy' ends too early"),
        ("item_id.npy", lambda path: np.save(path, np.ones(9, np.int32)), r"item_id.npy' holds \(9,\) int32"),
        ("user_id.npy", lambda path: np.save(path, np.ones(6000, np.int64)), "user_id.npy' holds"),
        ("user_id.npy", lambda path: np.save(path, np.full(5999, 10**6, np.int32)), "ids beyond 1 to"),
        ("user_id.tokens", cut, "user_id.tokens' has"),
        ("user_id.tokens", lambda path: path.unlink(), "user_id.tokens' is missing"),
        ("shards.json", lambda path: path.unlink(), "has no shards.json"),
        ("item_id.tokens", repeated, "item_id.tokens' names somebody twice"),
        ("shards.json", cut, "shards.json' is damaged"),
        ("shards.json", rewritten(b"shards/1", b"shards/2"), "is of the version recbole-aia-shards/2, and this"),
        ("shards.json", rewritten(b'"rating"', b'"../rating"'), "shards.json' is damaged"),
    ],
)
def test_shards_that_are_not_whole_are_named_in_one_line(name, change, message, places, tmp_path):
    shutil.copytree(places["shards"], tmp_path / "data")
    change(tmp_path / "data" / "small" / "small.shards" / name)
    with pytest.raises(AttributeDataError, match=message) as caught:
        create_dataset(configured(str(tmp_path / "data")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"USER_ID_FIELD": "who"}, ConfigValueError, "shards have 'user_id'. Leave USER_ID_FIELD out"),
        ({"alias_of_item_id": ["other"]}, ConfigValueError, "alias_of_item_id is not for shards"),
        ({"threshold": {"stars": 4}}, ConfigValueError, "has no 'stars', which is needed by threshold"),
        ({"user_inter_num_interval": "[9999,inf)"}, ConfigValueError, "no interaction is left"),
    ],
)
def test_settings_that_shards_cannot_meet_are_refused(values, kind, message, places):
    with pytest.raises(kind, match=message):
        create_dataset(configured(places["shards"], **values))


def test_text_beside_shards_is_not_read_and_a_line_says_so(places, tmp_path, caplog):
    shutil.copytree(places["shards"], tmp_path / "data")
    (tmp_path / "data" / "small" / "small.inter").write_text("other\n")
    dataset = create_dataset(configured(str(tmp_path / "data")))
    assert len(dataset.inter_feat) == 5_999
    assert "small.shards' is used, and 'small.inter' beside it is not read. Remove one of them." in caplog.text


def test_shards_are_not_edited_whatever_text_lies_beside_them(places, tmp_path):
    folder = tmp_path / "data" / "small"
    shutil.copytree(Path(places["shards"]) / "small", folder)
    shutil.copy(Path(places["text"]) / "small" / "small.inter", folder)
    _, dataset, _ = loaded(str(tmp_path / "data"))
    with pytest.raises(ConfigValueError, match="small is in shards, and only text can be edited"):
        write_edited(tmp_path / "out", "new", dataset, None)
    assert not (tmp_path / "out").exists()


def test_a_loader_that_is_given_its_settings_again_keeps_its_rows(places):
    config, _, (train_data, *_) = loaded(places["shards"])
    rows = sum(map(len, train_data))
    train_data.update_config(config)
    assert sum(map(len, train_data)) == rows > 1000
