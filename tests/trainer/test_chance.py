import logging

import pytest
import torch

from recbole_aia.errors import AttributeDataError
from recbole_aia.losses import Alignment
from recbole_aia.trainer.chance import ChanceStop, warn_if_farther


def users_of(*shifts, n=400, d=8):
    """Users, and labels of two classes for each attribute, whose classes a shift apart are along its dimension."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (n, len(shifts)), generator=generator)
    users = torch.randn(n, d, generator=generator)
    users[:, : len(shifts)] += labels * torch.tensor(shifts)
    return users, labels


def matched(users, labels):
    """Users whose classes are exact copies of each other: more alike than random groups."""
    users = users.clone()
    zero, one = ((labels[:, 0] == k).nonzero().squeeze(1) for k in (0, 1))
    n = min(len(zero), len(one))
    users[one[:n]] = users[zero[:n]]
    return users


def test_a_class_that_stands_apart_is_above_chance_and_classes_that_are_copies_are_not():
    users, labels = users_of(2.0)
    assert ChanceStop(lambda: users, labels).above().tolist() == [True]
    copies = matched(users, labels)
    assert ChanceStop(lambda: copies, labels).above().tolist() == [False]


def test_attributes_are_told_apart():
    users, labels = users_of(0.0, 2.0)
    chance, apart = ChanceStop(lambda: users, labels).means().tolist()
    assert abs(chance) < 2
    assert apart > 5


def test_an_attribute_that_rises_again_is_above_chance_again_at_the_next_look():
    users, labels = users_of(2.0)
    copies, where = matched(users, labels), [users]
    stop = ChanceStop(lambda: where[0], labels)
    seen = []
    for step in range(15):
        where[0] = copies if step < 7 else users
        seen.append(stop.above().item())
    assert seen == [False] * 10 + [True] * 5


def test_an_attribute_without_a_class_to_judge_is_defended_as_published():
    users, labels = users_of(2.0, 0.0)
    copies = matched(users, labels)
    labels[:, 1] = 0
    assert ChanceStop(lambda: copies, labels).above().tolist() == [False, True]


def test_nothing_to_judge_is_an_error_that_says_what_to_write():
    users, labels = users_of(0.0)
    with pytest.raises(AttributeDataError, match="--calibrate=False"):
        ChanceStop(lambda: users, torch.zeros_like(labels))


def test_a_look_leaves_no_gradient_and_the_record_is_plain():
    users, labels = users_of(2.0)
    users.requires_grad_()
    stop = ChanceStop(lambda: users, labels)
    assert not stop.means().requires_grad
    record = stop.record(["gender"])
    assert record["stopped_at_chance"] is False
    assert [type(value) for value in record["discrepancy"]["gender"]] == [float, float]


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [(3.6, 4.56, True), (4.56, 3.6, False), (0.4, 0.9, False), (0.4, 1.2, True), (3.6, float("nan"), False)],
)
def test_an_alignment_that_ends_farther_from_chance_than_it_began_is_a_warning(before, after, warned, caplog):
    warn_if_farther(logging.getLogger(), Alignment(before, after, 20))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned
    if warned:
        assert f"{before:.2f} -> {after:.2f}" in caplog.text
        assert "Raise calibrated_steps, or lower the learning_rate" in caplog.text
