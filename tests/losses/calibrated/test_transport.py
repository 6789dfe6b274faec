import torch

from recbole_aia.losses import ClassDiscrepancy, transport
from tests.losses.calibrated.populations import labels, leaky, users


def moments(sample):
    return sample.mean(0), sample.t().cov(correction=0)


def test_a_class_takes_the_moments_of_a_random_group():
    embeddings, known = leaky(3000, 4)
    moved = transport(embeddings, known, seed=3)
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(3))
    permuted = torch.empty_like(known[:, 0])
    permuted[order] = known[:, 0]
    for k in (0, 1):
        for ours, theirs in zip(moments(moved[known[:, 0] == k]), moments(embeddings[permuted == k]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_a_leak_of_moments_is_gone():
    embeddings, known = leaky(3000, 4)
    discrepancy = ClassDiscrepancy(embeddings, known)
    assert discrepancy(embeddings)[:2].max() > 50
    assert discrepancy(transport(embeddings, known))[:2].abs().max() < 5


def test_several_attributes_are_moved_together():
    embeddings, known = users(3000, 4), labels(3000, 2, 3)
    embeddings[:, 0] += 2 * known[:, 0]
    embeddings[:, 1] += 2 * known[:, 1]
    discrepancy = ClassDiscrepancy(embeddings, known)
    assert discrepancy(transport(embeddings, known))[0].abs().max() < 5


def test_a_class_of_fewer_users_than_dimensions_stays_finite():
    embeddings, known = users(100, 20), torch.zeros(100, 1, dtype=torch.long)
    known[:3] = 1
    assert transport(embeddings, known).isfinite().all()


def test_who_has_no_label_stays():
    embeddings, known = leaky(300, 4)
    known[:50] = -1
    assert torch.equal(transport(embeddings, known)[:50], embeddings[:50])


def test_who_has_no_label_lends_nothing_to_those_who_have():
    embeddings, known = users(3000, 4), labels(3000, 2)
    known[:1000] = -1
    embeddings[:1000] *= 0.01
    moved = transport(embeddings, known)[1000:]
    torch.testing.assert_close(moved.var(0), embeddings[1000:].var(0), rtol=0.05, atol=0)
