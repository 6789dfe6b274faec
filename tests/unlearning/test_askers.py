import pytest
import torch

from recbole_aia.errors import ConfigValueError
from recbole_aia.unlearning.askers import find_users, sample_users

ACTIVITY = torch.tensor([5, 1, 9, 5, 2])


@pytest.mark.parametrize(("kind", "expected"), [("core", [1, 3]), ("edge", [2, 5])])
def test_core_users_are_the_most_active_and_edge_users_the_least(kind, expected):
    assert sample_users(kind, 0.4, ACTIVITY, seed=0).tolist() == expected


def test_random_users_are_those_of_the_seed():
    drawn = [sample_users("random", 0.6, ACTIVITY, seed).tolist() for seed in (0, 0, *range(1, 9))]
    assert drawn[0] == drawn[1]
    assert len({tuple(users) for users in drawn}) > 1
    assert all(users == sorted(set(users)) and len(users) == 3 for users in drawn)


def test_somebody_always_asks():
    assert len(sample_users("core", 0.001, ACTIVITY, 0)) == 1


@pytest.mark.parametrize(("kind", "share"), [("heavy", 0.1), ("core", 0), ("core", 1.5)])
def test_other_kinds_and_shares_are_refused(kind, share):
    with pytest.raises(ConfigValueError, match="cannot be drawn"):
        sample_users(kind, share, ACTIVITY, 0)


def test_users_come_from_a_file_once_each_in_the_order_of_their_ids(ml100k, tmp_path):
    (tmp_path / "who.txt").write_text("7\n1\n\n7\n")
    names = find_users(str(tmp_path / "who.txt"), ml100k, 0)
    ids = [ml100k.token2id("user_id", name) for name in names]
    assert sorted(names) == ["1", "7"]
    assert ids == sorted(ids)


def test_activity_is_counted_in_the_dataset(ml100k):
    counts = torch.tensor(ml100k.inter_feat["user_id"].to_numpy()).bincount()
    names = find_users("core:0.01", ml100k, 0)
    picked = [int(counts[ml100k.token2id("user_id", name)]) for name in names]
    assert len(names) == 9
    assert min(picked) >= counts.sort(descending=True).values[8]
