"""Sums of Gaussian kernels between all pairs of users."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_aia.losses.calibrated.statistics.gaussian_sums import gaussian_sums


def by_definition(users: Tensor, members: Tensor, n_bandwidths: int, widest: float) -> Tensor:
    distances = (users.unsqueeze(1) - users).square().sum(2)
    kernels = [torch.exp(-distances * 2**s / widest) for s in range(n_bandwidths)]
    return torch.stack([members @ kernel @ members.t() for kernel in kernels])


@settings(deadline=None)
@given(n=st.integers(1, 300), width=st.integers(1, 5), groups=st.integers(1, 4), seed=st.integers(0, 99))
def test_are_those_of_the_definition(n: int, width: int, groups: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(n, width, generator=generator, dtype=torch.float64)
    members = (torch.rand(groups, n, generator=generator) < 0.5).double()
    torch.testing.assert_close(gaussian_sums(users, members, 3, 2.5), by_definition(users, members, 3, 2.5))


def test_have_the_gradient_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(300, 4, generator=generator, dtype=torch.float64).requires_grad_()
    members = (torch.rand(3, 300, generator=generator) < 0.5).double()
    weights = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((sums(users, members, 5, 4.0) * weights).sum(), users)[0]
        for sums in (gaussian_sums, by_definition)
    ]
    torch.testing.assert_close(*slopes)


def test_of_single_precision_are_added_in_double() -> None:
    users = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    members = torch.ones(1, 2000)
    exact = by_definition(users.double(), members.double(), 2, 16.0)
    torch.testing.assert_close(gaussian_sums(users, members, 2, 16.0), exact, rtol=1e-6, atol=0)
