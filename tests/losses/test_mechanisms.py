import math

import pytest
import torch
from scipy.stats import norm

from recbole_aia.losses import analytic_gaussian_scale, clip_rows, laplace_scale


def gaussian_delta(sigma, epsilon, sensitivity):
    """Balle and Wang (2018), eq. 6, by SciPy."""
    shift, slope = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    return norm.cdf(shift - slope) - math.exp(epsilon) * norm.cdf(-shift - slope)


class TestAnalyticGaussian:
    def test_the_published_calibration(self):
        # The value that the authors' reference algorithm gives, as printed in packages that ship it.
        assert analytic_gaussian_scale(1.0, 1e-5, 1.0) == pytest.approx(3.730631634816, abs=1e-9)

    @pytest.mark.parametrize("epsilon", [0.01, 0.5, 1.0, 5.0, 20.0])
    @pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.1])
    def test_it_is_the_least_scale_whose_delta_is_allowed(self, epsilon, delta):
        sigma = analytic_gaussian_scale(epsilon, delta, 3.0)
        assert gaussian_delta(sigma, epsilon, 3.0) == pytest.approx(delta, rel=1e-5)
        assert gaussian_delta(0.999 * sigma, epsilon, 3.0) > delta

    def test_it_needs_less_noise_than_the_textbook(self):
        for epsilon in (0.1, 0.5, 0.99):
            assert analytic_gaussian_scale(epsilon, 1e-5) < math.sqrt(2 * math.log(1.25e5)) / epsilon

    def test_a_large_budget_does_not_overflow(self):
        assert 0 < analytic_gaussian_scale(2000.0, 1e-5) < 0.05

    @pytest.mark.parametrize("arguments", [(0, 0.1), (-1, 0.1), (1, 0), (1, 1), (math.inf, 0.1), (1, 0.1, -1)])
    def test_what_is_no_budget_is_refused(self, arguments):
        with pytest.raises(ValueError, match="expected a number"):
            analytic_gaussian_scale(*arguments)


def test_laplace_noise_is_sensitivity_over_epsilon():
    assert laplace_scale(2.0, 3.0) == 1.5
    with pytest.raises(ValueError, match="epsilon"):
        laplace_scale(0.0, 1.0)


@pytest.mark.parametrize("order", [1, 2])
def test_long_rows_are_shortened_and_short_ones_kept(order):
    rows = torch.tensor([[3.0, 4.0], [0.1, 0.2], [0.0, 0.0]])
    clipped = clip_rows(rows, 1.0, order)
    assert torch.equal(clipped[1:], rows[1:])
    assert float(torch.linalg.vector_norm(clipped[0], ord=order)) == pytest.approx(1.0)
    torch.testing.assert_close(clipped[0] / clipped[0].norm(), rows[0] / 5)
