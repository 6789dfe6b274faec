import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_aia.losses import ClassDiscrepancy, MixedDiscrepancy, align, align_vectors, steps_for
from recbole_aia.losses.calibrated.alignment import Vectors, _Descent
from tests.losses.calibrated.populations import labels, leaky, users


@pytest.mark.parametrize("exact_users", [0, 2048])
def test_no_statistic_is_left_away_from_chance(exact_users):
    embeddings, known = leaky(200, 4)
    discrepancy = ClassDiscrepancy(embeddings, known, exact_users=exact_users)
    moved, outcome = align_vectors(embeddings, discrepancy, max_steps=200)
    assert outcome.before > 10
    assert outcome.after <= 0.5
    assert discrepancy(moved).abs().max() <= 0.5


def test_users_who_are_matched_too_closely_are_brought_back():
    embeddings, known = leaky(200, 4)
    for k in (0, 1):
        embeddings[known[:, 0] == k] -= embeddings[known[:, 0] == k].mean(0)
    discrepancy = ClassDiscrepancy(embeddings, known)
    assert discrepancy(embeddings).min() < -1
    assert discrepancy(align_vectors(embeddings, discrepancy)[0]).min() > -0.51


def test_users_at_chance_stay_where_they_are():
    embeddings, known = leaky(200, 4)
    discrepancy = ClassDiscrepancy(embeddings, known)
    there, _ = align_vectors(embeddings, discrepancy, max_steps=200)
    again, outcome = align_vectors(there, discrepancy)
    assert outcome.steps == 0
    assert torch.equal(again, there)


def test_they_move_no_further_than_the_attribute_reaches():
    embeddings, known = leaky(lift=0.5)
    moved, _ = align_vectors(embeddings, ClassDiscrepancy(embeddings, known))
    spread = (embeddings - embeddings.mean(0)).square().sum()
    assert (moved - embeddings).square().sum() < 0.1 * spread


def test_several_attributes_are_hidden_at_once():
    known = labels(200, 2, 3)
    embeddings = users(200, 4)
    embeddings[:, 0] += 2 * known[:, 0]
    embeddings[:, 1] += 2 * known[:, 1]
    _, outcome = align_vectors(embeddings, ClassDiscrepancy(embeddings, known))
    assert outcome.after <= 0.5


def test_silent_units_stay_silent():
    embeddings, known = leaky(200, 4)
    embeddings = embeddings.relu()
    moved, _ = align_vectors(embeddings, ClassDiscrepancy(embeddings, known), max_steps=10)
    assert torch.equal(moved == 0, embeddings == 0)
    assert not torch.equal(moved, embeddings)


def test_who_has_no_label_comes_out_as_they_were():
    embeddings, known = leaky(200, 4)
    known[:50] = -1
    moved, _ = align_vectors(embeddings, ClassDiscrepancy(embeddings, known))
    assert torch.equal(moved[:50], embeddings[:50])


def test_users_go_the_same_way_judged_or_not():
    embeddings, known = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)), torch.arange(200)[:, None] % 2
    embeddings += known
    discrepancy = ClassDiscrepancy(embeddings, known)
    (there, judged), (also, unjudged) = (align_vectors(embeddings, discrepancy, 2, judged=j) for j in (True, False))
    assert torch.equal(there, also)
    assert judged.steps == unjudged.steps == 2
    assert judged.before == unjudged.before > judged.after
    assert unjudged.after != unjudged.after  # not a number


@pytest.mark.parametrize(("width", "steps"), [(8, 3), (64, 3), (65, 4), (96, 5), (128, 6)])
def test_users_of_more_dimensions_may_take_more_steps(width, steps):
    assert steps_for(width, 3) == steps


class Unread(TorchDispatchMode):
    """Fails where an operation waits for a tensor's numbers, which a recording of CUDA cannot."""

    waits = ("_local_scalar_dense", "nonzero", "equal", "unique", "masked_select", "repeat_interleave")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert not any(function.name().startswith(f"aten::{name}") for name in self.waits), function
        return function(*args, **(kwargs or {}))


def mixed(embeddings, known):
    """Some users without a label, and posteriors of everybody."""
    known, said = known.clone(), torch.rand(len(known), 2, generator=torch.Generator().manual_seed(0)).double()
    known[:60] = -1
    return MixedDiscrepancy(embeddings, known, [said / said.sum(1, keepdim=True)])


@pytest.mark.parametrize("statistics", [ClassDiscrepancy, mixed])
def test_a_step_reads_no_number_so_that_cuda_can_record_it(statistics):
    embeddings, known = leaky(200, 4)
    descent = _Descent(Vectors(embeddings), statistics(embeddings, known))
    descent.step()  # what is computed once is there now
    with Unread():
        descent.step()
    assert int(descent.taken) == 2
    with pytest.raises(AssertionError, match="_local_scalar_dense"), Unread():
        bool(descent.going)


def test_a_step_leaves_users_at_chance_where_they_are():
    embeddings, known = leaky(200, 4)
    target = Vectors(embeddings)
    descent = _Descent(target, lambda users: 0.1 * users)
    descent._discrepancy = lambda users: 0.01 * users / users.detach().abs().max()
    descent.step()
    assert torch.equal(target.parameters[0], embeddings)
    assert not descent.going
    assert int(descent.taken) == 0
    descent._discrepancy = ClassDiscrepancy(embeddings, known)
    descent.step()  # a recorded step comes after all, and moves nobody
    assert torch.equal(target.parameters[0], embeddings)


def test_anomaly_detection_of_recbole_does_not_slow_the_steps():
    embeddings, _ = leaky(50, 3)
    seen = []

    def statistics(users):
        seen.append(torch.is_anomaly_enabled())
        return users

    with torch.autograd.set_detect_anomaly(True):
        align_vectors(embeddings, statistics, 2, judged=False)
    assert seen == [False, False]


def test_replayed_steps_go_where_launched_ones_go(device):
    embeddings, known = (each.to(device) for each in leaky(80, 3))
    discrepancy, launched = ClassDiscrepancy(embeddings, known), Vectors(embeddings)
    expected = align(launched, discrepancy, 12)
    moved, outcome = align_vectors(embeddings, discrepancy, 12)
    torch.testing.assert_close(moved, launched.parameters[0])
    assert outcome.steps == expected.steps
    assert outcome.after == pytest.approx(expected.after, rel=1e-4)
