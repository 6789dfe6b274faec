"""Defenses before training: the edited interactions, in memory and in files, and what is trained on them."""

import numpy as np
import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.edits import Edits, edited_loader, edited_split, profiles_of
from recbole_aia.data.obfuscation import telling_items
from recbole_aia.errors import ConfigValueError, UnsupportedModelError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class

QUICK = {"embedding_size": 8, "epochs": 1, "train_batch_size": 8192, "attributes": ["gender"]}


@pytest.fixture
def loaders(make_config, ml100k):
    return prepare_loaders(make_config(**QUICK), split_once(ml100k))


def fitted(make_config, ml100k, defense, **values):
    short = {f"{defense}_folds": 2}
    config = make_config(defense=defense, **{**QUICK, **short, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(0, True)
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    trainer.fit(loaders[0], saved=False)
    return trainer, loaders[0]


def pairs_of(split):
    return set(zip(split.inter_feat["user_id"].tolist(), split.inter_feat["item_id"].tolist(), strict=True))


def test_a_split_has_the_edits_and_is_otherwise_as_it_was(loaders):
    split = loaders[0].dataset
    profiles = profiles_of(split)
    unseen = np.flatnonzero(profiles[5].toarray()[0][1:] == 0)[:2] + 1
    added, removed = np.array([[5, item] for item in unseen]), np.array([[7, profiles[7].indices[0]]])
    edited = edited_split(split, Edits(added, removed))
    before = pairs_of(split)
    assert pairs_of(edited) == (before | {(5, int(item)) for item in unseen}) - {(7, int(removed[0, 1]))}
    assert pairs_of(split) == before
    own = split.inter_feat["user_id"] == 5
    assert set(edited.inter_feat["timestamp"][-2:].tolist()) <= set(split.inter_feat["timestamp"][own].tolist())


def test_no_negative_is_an_added_item(make_config, loaders):
    added = np.array([[user, item] for user in (1, 2) for item in range(1, 1600)])
    loader = edited_loader(make_config(**QUICK), loaders[0], Edits(added, np.empty((0, 2), dtype=np.int64)))
    own = pairs_of(loader.dataset)
    for batch in loader:
        few = batch["user_id"] <= 2
        drawn = zip(batch["user_id"][few].tolist(), batch["neg_item_id"][few].tolist(), strict=True)
        assert not own & set(drawn)


@pytest.mark.parametrize("variant", ["blurme", "blurmore", "perblur"])
def test_blurme_adds_unseen_items_of_the_opposite_class_within_its_budget(make_config, ml100k, loaders, variant):
    trainer, loader = fitted(make_config, ml100k, "blurme", blurme_variant=variant, blurme_share=0.05)
    profiles, labels = profiles_of(loader.dataset), trainer.labels.labels.numpy()
    edits = trainer.edits(profiles, labels)
    strengths = telling_items(profiles, labels[:, 0], 2, trainer.config["seed"])
    assert (np.asarray(profiles[edits.added[:, 0], edits.added[:, 1]]) == 0).all()
    assert (strengths[labels[edits.added[:, 0], 0], edits.added[:, 1]] < 0).all()
    budget = np.rint(0.05 * np.diff(profiles.indptr))
    assert (np.bincount(edits.added[:, 0], minlength=len(budget)) <= budget).all()
    assert edits.added.min() > 0
    assert len(edits.removed) == (len(edits.added) if variant == "blurmore" else 0)
    if variant == "blurmore":
        popularity = np.asarray(profiles.sum(0)).ravel()
        assert (np.bincount(edits.added[:, 1], minlength=len(popularity)) <= popularity).all()


def test_record_removes_what_it_says(make_config, ml100k):
    removed = {}
    for choice in ("telling", "random"):
        trainer, loader = fitted(make_config, ml100k, "record", record_choice=choice, record_share=0.2)
        profiles = profiles_of(loader.dataset)
        edits = trainer.edits(profiles, trainer.labels.labels.numpy())
        assert not len(edits.added)
        counts = np.bincount(edits.removed[:, 0], minlength=profiles.shape[0])
        assert (counts == np.rint(0.2 * np.diff(profiles.indptr))).all()
        removed[choice] = {tuple(pair) for pair in edits.removed}
    assert len(removed["telling"] & removed["random"]) < 0.5 * len(removed["random"])


def test_users_without_a_label_keep_their_profiles(make_config, ml100k):
    for defense in ("blurme", "record"):
        trainer, loader = fitted(make_config, ml100k, defense, holdout_users=0.3)
        labels = trainer.labels.labels.numpy()
        edits = trainer.edits(profiles_of(loader.dataset), labels)
        touched = np.concatenate([edits.added[:, 0], edits.removed[:, 0]])
        assert (labels[touched, 0] >= 0).all()


def test_the_written_set_is_the_edited_one_and_keeps_what_is_tested(make_config, ml100k, tmp_path):
    values = {"blurme_variant": "blurmore", "blurme_out": str(tmp_path / "sets")}
    trainer, loader = fitted(make_config, ml100k, "blurme", **values)
    edits = trainer.edits(profiles_of(loader.dataset), trainer.labels.labels.numpy())
    expected = pairs_of(edited_split(loader.dataset, edits))
    file = tmp_path / "sets" / "ml-100k-blurmore" / "ml-100k-blurmore.yaml"
    argv = [f"--data_path={tmp_path / 'sets'}"]
    config = AIAConfig("BPR", "ml-100k-blurmore", config_file_list=[file], argv=argv)
    written = create_dataset(config)
    assert written.inter_num == ml100k.inter_num
    parts, own = written.build(), ml100k
    original = split_once(ml100k).build()

    def tokens(dataset, pairs):
        users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
        return {(users[user], items[item]) for user, item in pairs}

    assert tokens(written, pairs_of(parts[0])) == tokens(own, expected)
    for ours, theirs in zip(parts[1:], original[1:], strict=True):
        assert tokens(written, pairs_of(ours)) == tokens(own, pairs_of(theirs))
    assert load_labels(config, written).counts("gender") == load_labels(make_config(**QUICK), ml100k).counts("gender")


def test_an_edited_set_overwrites_nothing(make_config, ml100k, tmp_path):
    (tmp_path / "ml-100k-blurme").mkdir()
    (tmp_path / "ml-100k-blurme" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigValueError, match="holds something else"):
        fitted(make_config, ml100k, "blurme", blurme_out=str(tmp_path))
    assert [file.name for file in (tmp_path / "ml-100k-blurme").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("model", ["LightGCN", "NGCF", "DMF", "MultiVAE"])
def test_a_model_that_computes_users_from_interactions_is_refused(make_config, ml100k, model):
    config = make_config(model, defense="record", **QUICK)
    with pytest.raises(UnsupportedModelError, match="--record_out=FOLDER"):
        trainer_class(config).check(config, ["gender"])


def test_neumf_is_trained_on_the_edited_set_too(make_config, ml100k):
    config = make_config("NeuMF", defense="record", **{**QUICK, "mf_embedding_size": 8, "mlp_embedding_size": 8})
    trainer_class(config).check(config, ["gender"])
    loaders = prepare_loaders(config, split_once(ml100k))
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    before = trainer.view.served().detach().clone()
    trainer.fit(loaders[0], saved=False)
    assert not torch.equal(trainer.view.served(), before)
