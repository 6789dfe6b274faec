"""Concept erasure: what is left of classes, and how little else changes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from recbole_aia.losses import least_squares_erasure, oracle_erasure


def planted(n=300, d=6, missing=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack(
        [torch.randint(0, 2, (n,), generator=generator), torch.randint(0, 3, (n,), generator=generator)], 1
    )
    embeddings = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator)
    embeddings[:, 0] += 1.5 * labels[:, 0]
    embeddings[:, 1:3] += labels[:, 1:]
    return embeddings, labels.masked_fill(torch.rand(labels.shape, generator=generator) < missing, -1)


def gaps(embeddings, labels):
    """The largest difference of a class mean from the mean of those with a label, over all attributes."""
    found = []
    for column in labels.t():
        known = embeddings[column >= 0].double()
        found += [
            (embeddings[column == k].double().mean(0) - known.mean(0)).norm() for k in column[column >= 0].unique()
        ]
    return float(torch.stack(found).max())


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("covariances", [0, 2])
def test_classes_of_every_attribute_have_equal_means(missing, covariances):
    embeddings, labels = planted(missing=missing)
    erasure = least_squares_erasure(embeddings, labels, covariances)
    assert gaps(embeddings, labels) > 0.5
    assert gaps(erasure(embeddings), labels) < 1e-5
    # One direction of two classes, two of three.
    assert erasure.rank == 3 + covariances


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_the_oracle_makes_means_equal_and_leaves_who_has_no_label(missing):
    embeddings, labels = planted(missing=missing)
    moved = oracle_erasure(embeddings, labels)
    if not missing:
        assert gaps(moved, labels) < 1e-5
    unknown = (labels < 0).all(1)
    assert torch.equal(moved[unknown], embeddings[unknown])


def test_no_linear_attacker_is_better_than_a_constant_on_the_users_of_the_fit():
    embeddings, labels = planted()
    erased = least_squares_erasure(embeddings, labels)(embeddings).numpy()
    for column in labels.t().numpy():
        for learned, better in ((embeddings.numpy(), True), (erased, False)):
            attacker = LogisticRegression(C=1e6, max_iter=1000).fit(learned, column)
            shares = np.bincount(column) / len(column)
            gained = (
                np.log(attacker.predict_proba(learned)[np.arange(len(column)), column]).mean()
                - (shares * np.log(shares)).sum()
            )
            assert (gained > 0.02) == better
            assert better or abs(gained) < 1e-6


def test_the_change_is_the_smallest_of_linear_ones():
    """Against the orthogonal projection, which also makes means equal; both are affine."""
    embeddings, labels = planted()
    column = labels[:, :1]
    erased = least_squares_erasure(embeddings, column)(embeddings)
    gap = embeddings[column[:, 0] == 1].mean(0) - embeddings[column[:, 0] == 0].mean(0)
    unit = gap / gap.norm()
    projected = embeddings - ((embeddings - embeddings.mean(0)) @ unit).unsqueeze(1) * unit
    assert (erased - embeddings).square().sum() < (projected - embeddings).square().sum()
    oracle = oracle_erasure(embeddings, column)
    assert (oracle - embeddings).square().sum() <= (erased - embeddings).square().sum()


def test_users_who_come_later_are_mapped_by_the_same_function():
    embeddings, labels = planted()
    erasure = least_squares_erasure(embeddings, labels)
    torch.testing.assert_close(erasure(embeddings[:5]), erasure(embeddings)[:5])
    assert torch.linalg.matrix_rank(erasure.erased) == erasure.rank


def test_directions_of_covariance_are_those_in_which_classes_differ():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(2000) % 2
    embeddings = torch.randn(2000, 4, generator=generator)
    embeddings[labels == 1, 2] *= 3
    erased = least_squares_erasure(embeddings, labels.unsqueeze(1), covariances=1)(embeddings)
    ratio = erased[labels == 1].var(0) / erased[labels == 0].var(0)
    assert float(erased[:, 2].var()) < 0.05 * float(embeddings[:, 2].var())
    assert float((ratio[[0, 1, 3]] - 1).abs().max()) < 0.2


def test_users_in_few_dimensions_stay_finite():
    embeddings, labels = planted()
    flat = torch.cat([embeddings, embeddings[:, :2], torch.zeros(len(embeddings), 1)], dim=1)
    erased = least_squares_erasure(flat, labels)(flat)
    assert erased.isfinite().all()
    assert gaps(erased, labels) < 1e-4
    assert torch.equal(erased[:, -1], flat[:, -1])


@pytest.mark.parametrize("erase", [least_squares_erasure, oracle_erasure])
def test_a_single_class_is_refused(erase):
    embeddings, labels = planted()
    with pytest.raises(ValueError, match="fewer than two classes"):
        erase(embeddings, torch.zeros_like(labels))
    with pytest.raises(ValueError, match="disagree"):
        erase(embeddings, labels[:, 0])
