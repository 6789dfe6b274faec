import pytest
import torch

from recbole_aia.data import LabelTable, defense_labels, load_labels, unseen_users
from recbole_aia.errors import ConfigValueError


@pytest.fixture
def table():
    """60 users of F, 40 of M and 10 without a gender, of whom the last has no label at all."""
    gender = torch.tensor([-1] + [0] * 60 + [1] * 40 + [-1] * 10)
    age = torch.arange(111) % 3
    age[[0, 110]] = -1
    return LabelTable(torch.stack([gender, age], 1), ("gender", "age"), {"gender": ["F", "M"], "age": ["a", "b", "c"]})


def test_the_share_of_each_class_is_held_out(table):
    unseen = unseen_users(table, 0.2, seed=1)
    assert [int(unseen[part].sum()) for part in (slice(1, 61), slice(61, 101))] == [12, 8]
    assert not unseen[0]
    assert not unseen[110]


def test_the_seed_draws(table):
    first = unseen_users(table, 0.5, seed=1)
    assert torch.equal(first, unseen_users(table, 0.5, seed=1))
    assert not torch.equal(first, unseen_users(table, 0.5, seed=2))


def test_nobody_is_held_out_without_a_share(table):
    assert not unseen_users(table, None, seed=1).any()


def test_a_class_keeps_a_member(table):
    seen = table.labels[~unseen_users(table, 0.999, seed=3)]
    assert {0, 1} <= set(seen[:, 0].tolist())


def test_shares_that_leave_nobody_or_no_classes_are_refused(table):
    with pytest.raises(ConfigValueError, match="none of the users"):
        unseen_users(table, 0.001, seed=1)
    rare = table.labels[:, :1] * (table.labels[:, :1] < 0)  # one class only
    with pytest.raises(ConfigValueError, match="fewer than two classes of 'age'"):
        unseen_users(LabelTable(rare, ("age",), {"age": ["a", "b"]}), 0.2, seed=1)


def test_labels_of_a_defense_are_those_of_the_data_less_what_is_held_out(make_config, ml100k):
    config = make_config(attributes=["gender", "age"], holdout_users=0.25)
    full, given = load_labels(config, ml100k), defense_labels(config, ml100k)
    unseen = unseen_users(full, 0.25, config["seed"])
    assert (given.labels[unseen] == -1).all()
    assert torch.equal(given.labels[~unseen], full.labels[~unseen])
    assert int(unseen.sum()) == 236
