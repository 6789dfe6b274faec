"""LEACE on the users of a model."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from recbole_aia.config.properties import our_properties
from recbole_aia.data import load_labels, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class


def prepared(make_config, ml100k, model="BPR", **values):
    config = make_config(model, defense="leace", embedding_size=8, attributes=["gender", "age"], **values)
    loaders = prepare_loaders(config, split_once(ml100k))
    torch.manual_seed(0)
    return trainer_class(config)(config, build_model(config, loaders[0].dataset)), load_labels(config, ml100k)


def served(trainer):
    with torch.no_grad():
        return trainer.view.served().cpu().numpy().copy()


def gained(vectors, labels):
    """What an unpenalised linear attacker gains over a constant, in nats, on the users from whom it has learned."""
    known, shares = labels >= 0, np.bincount(labels[labels >= 0]) / (labels >= 0).sum()
    scaled = vectors[known] / vectors.std()
    attacker = LogisticRegression(C=1e6, max_iter=2000).fit(scaled, labels[known])
    said = attacker.predict_proba(scaled)[np.arange(known.sum()), labels[known]]
    return float(np.log(said).mean() - (shares * np.log(shares)).sum())


@pytest.mark.parametrize("model", ["BPR", "NeuMF", "LightGCN", "DMF", "MultiVAE"])
@pytest.mark.parametrize("labels_of", ["none", "own"])
def test_no_linear_attacker_is_left_on_the_users_of_the_fit(make_config, ml100k, model, labels_of):
    trainer, labels = prepared(make_config, ml100k, model, leace_labels=labels_of, mf_embedding_size=8)
    before = served(trainer)
    trainer.unlearn(labels=labels)
    for name in ("gender", "age"):
        column = labels.column(name)[1:].numpy()
        assert gained(before, column) > 1e-3
        assert gained(served(trainer), column) < 1e-4


@pytest.mark.parametrize(("labels_of", "moves"), [("none", True), ("own", False)])
def test_users_without_a_label_move_unless_labels_move_them(make_config, ml100k, labels_of, moves):
    trainer, labels = prepared(make_config, ml100k, leace_labels=labels_of)
    labels.labels[1:101] = -1
    before = served(trainer)
    trainer.unlearn(labels=labels)
    assert (served(trainer)[:100] != before[:100]).any(1).all() == moves
    assert (served(trainer)[100:] != before[100:]).any(1).all()


def test_only_the_attribute_that_is_asked_for_is_taken_out(make_config, ml100k):
    trainer, labels = prepared(make_config, ml100k)
    record = trainer.unlearn(labels=labels, attributes=["gender"])
    assert record["rank"] == 1
    assert gained(served(trainer), labels.column("gender")[1:].numpy()) < 1e-4
    assert gained(served(trainer), labels.column("age")[1:].numpy()) > 1e-3


def test_a_tower_cannot_be_erased(make_config, ml100k):
    trainer, labels = prepared(make_config, ml100k, "DMF", target="tower")
    with pytest.raises(ConfigValueError, match="--target=released"):
        trainer.unlearn(labels=labels)


def test_the_papers_preset_is_leace_without_our_directions():
    values = our_properties("BPR", "ml-100k", "leace", "paper")
    assert (values["leace_labels"], values["leace_covariances"]) == ("none", 0)
