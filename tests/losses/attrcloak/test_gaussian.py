import pytest
import torch
from sklearn.covariance import ledoit_wolf
from torch.distributions import MultivariateNormal, kl_divergence

from recbole_aia.losses import gaussian_kl, ledoit_wolf_shrinkage
from tests.losses.attrcloak.classes import moments, users


class TestGaussianKL:
    def test_it_is_torchs_for_full_rank_gaussians(self):
        factors = torch.randn(3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        covariances = factors @ factors.mT + 0.1 * torch.eye(5, dtype=torch.float64)
        means = factors.sum(2)
        ours = gaussian_kl(means[:2], covariances[:2], means[2], covariances[2])
        everyone = MultivariateNormal(means[2], covariances[2])
        theirs = [kl_divergence(MultivariateNormal(means[k], covariances[k]), everyone) for k in (0, 1)]
        torch.testing.assert_close(ours, torch.stack(theirs))

    def test_a_gaussian_is_at_no_distance_from_itself(self):
        mean, covariance = moments(users(50, 4))
        assert abs(float(gaussian_kl(mean, covariance, mean, covariance))) < 1e-12

    def test_a_gradient_goes_through_all_of_it(self):
        mean, covariance = moments(users(50, 3))
        other_mean, other = moments(users(50, 3, seed=1))
        inputs = [t.clone().requires_grad_() for t in (mean, covariance, other_mean, other)]
        assert torch.autograd.gradcheck(lambda m, c, n, o: gaussian_kl(m, (c + c.mT) / 2, n, (o + o.mT) / 2), inputs)


class TestLedoitWolf:
    @pytest.mark.parametrize(("n", "d"), [(200, 5), (20, 8), (3, 8), (2, 6)])
    def test_the_weight_is_scikit_learns(self, n, d):
        sample = users(n, d)
        assert ledoit_wolf_shrinkage(sample) == pytest.approx(ledoit_wolf(sample.numpy())[1], abs=1e-10)

    def test_users_who_do_not_differ_are_a_sphere(self):
        assert ledoit_wolf_shrinkage(torch.ones(5, 3)) == 1.0
