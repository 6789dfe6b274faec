import re

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_aia import protect
from recbole_aia.config.registry import known_keys
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import ClassDiscrepancy


@pytest.fixture(scope="module")
def leaking():
    rng = np.random.default_rng(0)
    gender = rng.choice(["F", "M"], 400)
    embeddings = rng.normal(size=(400, 6))
    embeddings[:, 0] += 1.5 * (gender == "F")
    return embeddings, gender


def farthest(embeddings, reference, gender):
    codes = torch.as_tensor((gender == "F").astype(int))[:, None]
    return float(ClassDiscrepancy(torch.tensor(reference), codes)(torch.tensor(embeddings)).abs().max())


def test_what_comes_out_is_at_chance(leaking):
    embeddings, gender = leaking
    assert farthest(embeddings, embeddings, gender) > 10
    assert farthest(protect(embeddings, gender, calibrated_labels="own"), embeddings, gender) < 1


def test_what_one_map_for_everybody_gives_is_at_chance(leaking):
    embeddings, gender = leaking
    assert farthest(protect(embeddings, gender), embeddings, gender) < 1


def test_the_two_ways_are_two_and_no_third_is_taken(leaking):
    assert not np.allclose(protect(*leaking), protect(*leaking, calibrated_labels="own"))
    with pytest.raises(ConfigValueError, match=r"calibrated_labels is 'mine'\. It must be posterior or own"):
        protect(*leaking, calibrated_labels="mine")


def test_labels_come_as_people_have_them(leaking):
    embeddings, gender = leaking
    as_array = protect(embeddings, gender, max_steps=5)
    for labels in ({"gender": gender}, pd.DataFrame({"gender": gender}), list(gender)):
        np.testing.assert_array_equal(protect(embeddings, labels, max_steps=5), as_array)


def test_the_same_seed_gives_the_same_vectors_of_the_same_type(leaking):
    embeddings, gender = leaking
    once, again = (protect(embeddings.astype(np.float32), gender, max_steps=5, seed=7) for _ in range(2))
    assert once.dtype == np.float32
    np.testing.assert_array_equal(once, again)


def test_users_without_a_label_stay_where_users_move_by_their_own(leaking):
    embeddings, gender = leaking
    known = np.where(np.arange(400) < 40, "", gender)
    moved = protect(embeddings, known, calibrated_labels="own", max_steps=5)
    np.testing.assert_array_equal(moved[:40], embeddings[:40])


def test_users_without_a_label_are_protected_like_all_others(leaking):
    embeddings, gender = leaking
    known = np.where(np.arange(400) < 200, "", gender)
    gap = [
        abs(each[:200][gender[:200] == "F"].mean(0) - each[:200][gender[:200] == "M"].mean(0))[0]
        for each in (embeddings, protect(embeddings, known))
    ]
    assert gap[1] < 0.35 * gap[0]


def test_where_users_go_is_a_function_of_their_vectors(leaking):
    """Twins move alike, whatever their labels; with own labels they part."""
    embeddings, gender = leaking
    twins = np.concatenate([embeddings[:200], embeddings[:200]])
    labels = np.concatenate([gender[:200], np.where(np.arange(200) < 100, gender[200:], "")])
    moved = protect(twins, labels, max_steps=20)
    np.testing.assert_allclose(moved[:200], moved[200:], atol=1e-6)
    own = protect(twins, labels, calibrated_labels="own", max_steps=20)
    assert np.linalg.norm(own[:200] - own[200:], axis=1).mean() > 0.05


def test_whose_label_is_learned_from_does_not_decide_who_moves(leaking):
    embeddings, gender = leaking
    known = np.where(np.arange(400) < 200, "", gender)
    away = np.linalg.norm(protect(embeddings, known) - embeddings, axis=1)
    assert (away > 0).all()
    assert 0.75 < away[:200].mean() / away[200:].mean() < 1.33


def test_many_users_with_own_labels_are_transported_first(leaking, monkeypatch):
    embeddings, gender = leaking
    monkeypatch.setattr("recbole_aia.jobs.protect._TRANSPORT_USERS", 100)
    protected = protect(embeddings, gender, calibrated_labels="own", max_steps=1)
    assert farthest(protected, embeddings, gender) < 5


def test_too_few_labels_are_refused_with_their_number(leaking):
    embeddings, gender = leaking
    with pytest.raises(AttributeDataError, match="'attribute': 15 users have a label, and at least 20 are needed"):
        protect(embeddings, np.where(np.arange(400) < 385, "", gender))


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (np.full((10, 2), np.nan), ["a", "b"] * 5, "not finite"),
        (np.zeros((10, 2)), ["a", "b"], "labels"),
        (np.eye(10), ["a"] * 10, "class"),
        (np.eye(40), ["a"] * 39 + ["b"], "nearly all users with a label are of one class"),
        (np.eye(10), {}, "no labels"),
        (np.full((10, 2), 0.1), ["a", "b"] * 5, "same vector"),
    ],
)
def test_what_cannot_be_protected_is_refused(embeddings, labels, words):
    with pytest.raises(AttributeDataError, match=words):
        protect(embeddings, labels)


def test_a_class_that_has_no_users_outside_is_refused_where_users_move_by_their_own_labels():
    with pytest.raises(AttributeDataError, match="two users outside"):
        protect(np.eye(40), ["a"] * 39 + ["b"], calibrated_labels="own")


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        (np.eye(10), {"group": ["a"] * 10}),
        (np.eye(10), {"group": [None] * 10}),
        (np.eye(10), {"group": ["a"] * 9 + ["b"]}),
        (np.eye(10), {"group": range(10)}),
        (np.eye(10), {"group": ["a", "b"]}),
        (np.eye(10), {}),
        (np.eye(10)[:0], {"group": []}),
        (np.ones((10, 2)), {"group": ["a", "b"] * 5}),
        (np.full((10, 2), np.nan), {"group": ["a", "b"] * 5}),
        (["x"], {"group": ["a"]}),
    ],
)
def test_advice_names_no_key_that_protect_does_not_have(embeddings, labels):
    with pytest.raises(AttributeDataError) as caught:
        protect(embeddings, labels)
    words = set(re.findall(r"\w+", str(caught.value)))
    assert not words & {*known_keys(), "bins"}
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"max_steps": -1}, {"seed": 1.5}, {"seed": True}])
def test_settings_that_are_no_counts_are_refused(values, leaking):
    with pytest.raises(ConfigValueError, match="whole number"):
        protect(*leaking, **values)


def test_a_single_dimension_can_be_protected(leaking):
    embeddings, gender = leaking
    assert np.isfinite(protect(embeddings[:, :1], gender, max_steps=3)).all()


def test_an_attribute_that_cannot_be_judged_is_named(leaking):
    embeddings, gender = leaking
    rare = np.where(np.arange(400) == 0, "x", "y")
    with pytest.raises(AttributeDataError, match="'rare'"):
        protect(embeddings, {"gender": gender, "rare": rare})


def test_numpys_whole_numbers_are_whole_numbers(leaking):
    assert np.array_equal(protect(*leaking, max_steps=np.int64(2)), protect(*leaking, max_steps=2))


@pytest.mark.parametrize("activity", [[1, 2], [[1]] * 400, ["many"] * 400, [np.nan] * 400])
def test_activity_is_a_number_for_each_user(leaking, activity):
    with pytest.raises(AttributeDataError, match="activity must be 400 numbers, one for each user"):
        protect(*leaking, activity=activity)


def test_the_caller_may_say_where_it_computes(device):
    embeddings, gender = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    expected = protect(embeddings, gender, max_steps=2, device="cpu")
    np.testing.assert_allclose(protect(embeddings, gender, max_steps=2, device=str(device)), expected, atol=1e-4)
    with pytest.raises(ConfigValueError, match="device is"):
        protect(embeddings, gender, device="tpu")
