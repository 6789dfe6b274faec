"""Classes of users, and what their barycenter costs by linear programs."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linprog

from recbole_aia.losses import Barycenter


def rng(seed):
    return torch.Generator().manual_seed(seed)


def make_classes(seed=0, sizes=(40, 70), d=3, dtype=torch.float64):
    """Classes that differ in mean and spread."""
    g = rng(seed)
    return [
        (1 + 0.5 * k) * torch.randn(n, d, generator=g, dtype=dtype) + 0.7 * k * torch.randn(d, generator=g, dtype=dtype)
        for k, n in enumerate(sizes)
    ]


def subsample(classes, count, seed=0):
    users = torch.cat(classes)
    return users[torch.randperm(len(users), generator=rng(seed))[:count]]


def shares_of(classes):
    sizes = torch.tensor([len(users) for users in classes], dtype=classes[0].dtype)
    return sizes / sizes.sum()


def cost_scale(classes):
    users = torch.cat(classes).double()
    return 2 * float((users - users.mean(0)).square().sum(1).mean())


def costs_to(classes, atoms):
    return [torch.cdist(users.double(), atoms.double()).square() for users in classes]


def primal_value(classes, atoms, weights, shares, tau):
    """Exact transport costs plus the entropy term; the quantity whose minimum the dual is."""
    weights = weights.double() / weights.double().sum()
    total = tau * float(torch.special.xlogy(weights, weights).sum())
    for share, cost in zip(shares, costs_to(classes, atoms), strict=True):
        mass = np.full(len(cost), 1 / len(cost))
        total += float(share) * ot.emd2(mass, weights.numpy(), cost.numpy(), numItermax=500_000)
    return total


def linear_program(classes, atoms, shares):
    """Value of the fixed-support barycenter without entropy, over all plans and weights."""
    costs = [cost.numpy() for cost in costs_to(classes, atoms)]
    n_atoms = len(atoms)
    width = sum(cost.size for cost in costs) + n_atoms
    rows, right = [], []
    offset = 0
    for cost in costs:
        n = len(cost)
        plan = np.arange(offset, offset + cost.size).reshape(n, n_atoms)
        for p in range(n):
            row = np.zeros(width)
            row[plan[p]] = 1
            rows.append(row)
            right.append(1 / n)
        for q in range(n_atoms):
            row = np.zeros(width)
            row[plan[:, q]] = 1
            row[width - n_atoms + q] = -1
            rows.append(row)
            right.append(0.0)
        offset += cost.size
    price = np.concatenate(
        [float(share) * cost.ravel() for share, cost in zip(shares, costs, strict=True)] + [np.zeros(n_atoms)]
    )
    solved = linprog(price, A_eq=np.array(rows), b_eq=right, bounds=(0, None), method="highs")
    assert solved.status == 0
    return solved.fun


def is_sound(found: Barycenter):
    tensors = (found.atoms, found.weights, found.potentials)
    return (
        all(torch.isfinite(x).all() for x in tensors)
        and math.isfinite(found.objective)
        and 0 <= found.marginal_error <= 2 + 1e-6
        and float(found.weights.min()) >= 0
        and float(found.weights.sum()) == pytest.approx(1, abs=1e-5)
    )
