"""Sums over all users, of whom each of several processes has a part: values and gradients are those of one process."""

import pytest
import torch
from processes import together

from recbole_aia.losses import ClassDiscrepancy, ClassDivergence, PosteriorDiscrepancy, penalized_barycenter
from recbole_aia.losses.raid.costs import ClassCosts, squared_cost
from recbole_aia.losses.shared.moments import Cells, class_moments
from recbole_aia.ranks import ranks

GENERATOR = torch.Generator().manual_seed(0)
USERS = torch.randn(41, 4, generator=GENERATOR, dtype=torch.float64) + 3
#: Sorted by class, so that the first of two processes has no user of the last ones; class 2 has two users.
LABELS = torch.stack([torch.arange(41) // 21, torch.tensor([0] * 20 + [1] * 19 + [2] * 2)], dim=1)


def with_gradient(loss):
    leaf = USERS.clone().requires_grad_()
    values = loss(leaf)
    return values.detach().numpy(), torch.autograd.grad(values.sin().sum(), leaf)[0].numpy()


def moments(labels=LABELS):
    classes = sorted({(a, int(k)) for a in range(labels.shape[1]) for k in labels[:, a] if k >= 0})
    cells = Cells(labels, classes, USERS)
    return with_gradient(lambda users: torch.cat([part.flatten() for part in class_moments(users, cells)]))


def moments_of_two_users():
    """Fewer users than processes, of two classes."""
    labels = torch.full((41, 1), -1)
    labels[3], labels[30] = 0, 1
    return moments(labels)


def divergence():
    return with_gradient(ClassDivergence(USERS, LABELS))


def discrepancy():
    return with_gradient(ClassDiscrepancy(USERS, LABELS, exact_users=0))


def exact_discrepancy():
    return with_gradient(ClassDiscrepancy(USERS, LABELS))


def posterior_discrepancy():
    posterior = torch.softmax(USERS[:, :3], dim=1)
    return with_gradient(PosteriorDiscrepancy(USERS, [posterior], exact_users=0))


def samples():
    return [USERS[LABELS[:, 1] == k] for k in range(3)]


def masses(batch_size=None):
    """The gradients of the dual, its values, and what moves the support."""
    costs = ClassCosts(samples(), USERS[::5], float(squared_cost(USERS, USERS).mean()), batch_size)
    potentials = 0.1 * torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = costs.batch_masses(potentials, 0.1, torch.Generator().manual_seed(2))
    found = [costs.masses(potentials, 0.1), *costs.hard_masses(potentials), drawn, *costs.couple(potentials, 0.1)]
    return [each.numpy() for each in found]


def masses_by_blocks():
    return masses(4)


def barycenter():
    found = penalized_barycenter(samples(), n_atoms=8, tau=0.1)
    return [found.atoms.numpy(), found.potentials.numpy(), found.weights.numpy(), found.objective, found.marginal_error]


SUMS = [moments, moments_of_two_users, divergence, discrepancy, exact_discrepancy, posterior_discrepancy, masses]
SUMS += [masses_by_blocks, barycenter]


def every_sum():
    return [sums() for sums in SUMS]


@pytest.mark.parametrize("count", [2, 5])
def test_sums_over_users_are_those_of_one_process(count):
    wanted = every_sum()
    for found in together(count, every_sum):
        for sums, ours, theirs in zip(SUMS, found, wanted, strict=True):
            for got, expected in zip(ours, theirs, strict=True):
                assert got == pytest.approx(expected, rel=1e-6, abs=1e-6), sums.__name__


def own_products():
    return [
        len(ClassCosts(samples(), USERS[:2], 1.0, None).samples[0]),
        len(Cells(LABELS, [(0, 0), (0, 1)], USERS).rows),
    ]


def test_each_process_has_a_part_of_the_users():
    assert together(2, own_products) == [[10, 20], [10, 21]]
    assert ranks().count == 1
