import pytest
import torch

from recbole_aia.losses.calibrated.statistics import spread


def centered_spread(kernel):
    """The definition, entry by entry."""
    n = len(kernel)
    pairs = kernel.clone().fill_diagonal_(0.0)
    rows, total = pairs.sum(1), pairs.sum()
    squares = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                centered = pairs[i, j] - rows[i] / (n - 2) - rows[j] / (n - 2) + total / ((n - 1) * (n - 2))
                squares += float(centered) ** 2
    return (2 * squares / (n * (n - 1))) ** 0.5


@pytest.mark.parametrize("power", [1, 2])
def test_the_spread_is_that_of_the_centered_kernel(power):
    points = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[0] *= 50  # far from all others
    kernel = (points @ points.t()) ** power
    assert float(spread(kernel)) == pytest.approx(centered_spread(kernel))
    assert float(spread(kernel + 1e3)) == pytest.approx(centered_spread(kernel))


def test_a_kernel_that_is_the_same_between_all_users_has_none():
    kernel = torch.full((20, 20), 0.1, dtype=torch.float64).fill_diagonal_(7.0)
    assert float(spread(kernel)) < 1e-12
