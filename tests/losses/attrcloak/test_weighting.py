import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from recbole_aia.losses import min_norm_weight


def gradients(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, size, generator=generator, dtype=torch.float64) * torch.tensor([[1.0], [2.0]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_it_is_where_a_numerical_minimizer_finds_the_least_norm(seed):
    privacy, utility = gradients(seed)
    norm = lambda a: float((a * privacy + (1 - a) * utility).square().sum())  # noqa: E731
    found = minimize_scalar(norm, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x
    assert float(min_norm_weight(privacy, utility)) == pytest.approx(found, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_both_losses_fall_against_the_combination(seed):
    privacy, utility = gradients(seed)
    weight = min_norm_weight(privacy, utility)
    combined = weight * privacy + (1 - weight) * utility
    assert combined @ privacy > -1e-9
    assert combined @ utility > -1e-9


def test_a_shorter_gradient_that_agrees_takes_all_the_weight():
    privacy = torch.tensor([1.0, 0.0])
    assert min_norm_weight(privacy, 3 * privacy) == 1
    assert min_norm_weight(3 * privacy, privacy) == 0


def test_without_a_utility_gradient_the_lower_bound_decides():
    privacy = torch.tensor([1.0, 2.0])
    for lower in (0.0, 0.1):
        assert float(min_norm_weight(privacy, 0 * privacy, lower)) == pytest.approx(lower)


def test_equal_gradients_give_the_lower_bound():
    gradient = torch.tensor([1.0, 2.0])
    assert float(min_norm_weight(gradient, gradient, 0.1)) == pytest.approx(0.1)


def test_several_tensors_are_one_long_gradient():
    privacy, utility = gradients(3)
    parts = min_norm_weight(privacy.split([2, 4]), utility.split([2, 4]))
    torch.testing.assert_close(parts, min_norm_weight(privacy, utility))


def test_gradients_of_equal_norm_get_equal_weights():
    privacy, utility = (gradient / gradient.norm() for gradient in gradients(4))
    assert float(min_norm_weight(privacy, utility)) == pytest.approx(0.5)
