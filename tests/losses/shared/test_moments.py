"""Moments of classes, with and without cells that attributes share."""

import pytest
import torch

from recbole_aia.losses.shared.inputs import check_movers
from recbole_aia.losses.shared.moments import Cells, class_moments


def population(n, d):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(n, d, generator=generator, dtype=torch.float64) + 3
    labels = torch.stack([torch.randint(-1, k, (n,), generator=generator) for k in (2, 3)], dim=1)
    return embeddings, labels, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def by_definition(embeddings, labels, classes, origin):
    members = [embeddings[labels[:, a] == k] - origin for a, k in classes]
    return torch.stack([m.mean(0) for m in members]), torch.stack([m.t() @ m / len(m) for m in members])


# Of 400 users with 2 dimensions both attributes share cells; of 30 users with 12 each has its own.
@pytest.mark.parametrize(("n", "d"), [(400, 2), (30, 12)])
class TestClassMoments:
    def test_they_are_those_of_the_definition(self, n, d):
        embeddings, labels, classes = population(n, d)
        cells = Cells(labels, classes, embeddings)
        for ours, theirs in zip(
            class_moments(embeddings, cells), by_definition(embeddings, labels, classes, cells.center), strict=True
        ):
            torch.testing.assert_close(ours, theirs)

    def test_so_is_their_gradient(self, n, d):
        embeddings, labels, classes = population(n, d)
        cells = Cells(labels, classes, embeddings)
        leaf = embeddings.requires_grad_()
        slopes = []
        for means, seconds in (class_moments(leaf, cells), by_definition(leaf, labels, classes, cells.center)):
            slopes.append(torch.autograd.grad(means.sin().sum() + seconds.sin().sum(), leaf)[0])
        torch.testing.assert_close(*slopes)

    def test_a_user_without_labels_has_no_gradient(self, n, d):
        embeddings, labels, classes = population(n, d)
        labels[:5] = -1
        leaf = embeddings.requires_grad_()
        means, seconds = class_moments(leaf, Cells(labels, classes, embeddings.detach()))
        (slope,) = torch.autograd.grad(means.sum() + seconds.sum(), leaf)
        assert not slope[:5].any()
        assert slope[5:].any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 2), (4, 1), (0, 2), (0, 1)), "embeddings and labels"),
        (((5, 2), (5,), (0, 2), (0, 1)), "embeddings and labels"),
        (((5, 2), (5, 1), (3, 2), (2, 1)), "embeddings and labels"),
        (((5, 2), (5, 1), (3, 4), (3, 1)), "widths d and A"),
        (((5, 2), (5, 1), (3, 2), (3, 2)), "widths d and A"),
    ],
)
def test_shapes_that_disagree_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        check_movers(*(torch.zeros(shape) for shape in shapes))
