"""The sliced Wasserstein distance between classes."""

import ot
import pytest
import torch

from recbole_aia.config.devices import find_device
from recbole_aia.losses import random_directions, sliced_wasserstein


def drawn(n, d=3, seed=0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def generator(seed):
    return torch.Generator(find_device()).manual_seed(seed)


def distance(one, other, directions):
    labels = torch.tensor([0] * len(one) + [1] * len(other))
    return sliced_wasserstein(torch.cat([one, other]), labels, directions)


@pytest.mark.parametrize("sizes", [(7, 7), (5, 8), (12, 4), (1, 9)])
def test_it_is_pots_distance_for_classes_of_any_sizes(sizes):
    one, other = drawn(sizes[0]), drawn(sizes[1], seed=1, shift=0.5)
    directions = random_directions(3, 20, generator(2)).double()
    theirs = ot.sliced_wasserstein_distance(one.numpy(), other.numpy(), projections=directions.numpy(), p=2)
    assert float(distance(one, other, directions)) == pytest.approx(float(theirs) ** 2, rel=1e-9)


def test_equal_classes_are_at_zero_and_a_shift_counts_by_its_square():
    users, directions = drawn(30), torch.eye(3, dtype=torch.float64)
    assert float(distance(users, users, directions)) == 0
    assert float(distance(users, users + 2.0, directions)) == pytest.approx(4.0)


def test_pairs_of_three_classes_add_up_and_unlabelled_users_count_not():
    parts, directions = [drawn(9, seed=k, shift=float(k)) for k in range(3)], torch.eye(3, dtype=torch.float64)
    labels = torch.arange(3).repeat_interleave(9)
    whole = sliced_wasserstein(torch.cat([*parts, drawn(4, seed=9)]), torch.cat([labels, -torch.ones(4)]), directions)
    pairs = sum(distance(parts[k], parts[j], directions) for k, j in ((0, 1), (0, 2), (1, 2)))
    torch.testing.assert_close(whole, pairs)


def test_descending_it_brings_classes_together():
    one, other = drawn(40).requires_grad_(), drawn(60, seed=1, shift=1.0)
    optimizer, drawing = torch.optim.SGD([one], lr=5.0), generator(3)
    for _ in range(100):
        optimizer.zero_grad()
        distance(one, other, random_directions(3, 8, drawing).double()).backward()
        optimizer.step()
    assert float((one.mean(0) - other.mean(0)).norm()) < 0.15


def test_directions_have_length_one_and_all_come_up():
    directions = random_directions(4, 2000, generator(0))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(2000))
    torch.testing.assert_close(directions @ directions.t() / 2000, torch.eye(4) / 4, atol=0.02, rtol=0)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="expected at least two"):
        sliced_wasserstein(drawn(3), torch.zeros(3), torch.eye(3))
