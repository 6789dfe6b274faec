"""The dual, its weights and the solver, against linear programs and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from recbole_aia.losses import (
    barycenter_weights,
    dual_objective,
    penalized_barycenter,
)
from tests.losses.raid.barycenters import (
    cost_scale,
    costs_to,
    linear_program,
    make_classes,
    primal_value,
    rng,
    shares_of,
    subsample,
)

SEEDS = st.integers(0, 2**31 - 1)


class TestWeights:
    def test_they_are_the_softmax_of_equation_21(self):
        potentials = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 2.0]], dtype=torch.float64)
        shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
        level = [0.25 * a + 0.75 * b for a, b in zip([1.0, 2.0, 0.5], [0.0, -1.0, 2.0], strict=True)]
        odds = np.exp(-np.array(level) / 0.4)
        weights = barycenter_weights(potentials, shares, 0.4)
        np.testing.assert_allclose(weights.numpy(), odds / odds.sum(), rtol=1e-12)

    def test_at_tau_zero_they_are_the_limit(self):
        potentials = torch.tensor([[1.0, 0.0, 0.0, 3.0]], dtype=torch.float64)
        shares = torch.ones(1, dtype=torch.float64)
        limit = barycenter_weights(potentials, shares, 0.0)
        assert limit.tolist() == [0, 0.5, 0.5, 0]
        assert torch.allclose(barycenter_weights(potentials, shares, 1e-3), limit)

    @pytest.mark.parametrize("tau", [1e-300, 1e-30, 1e30])
    def test_no_tau_makes_them_overflow(self, tau):
        weights = barycenter_weights(torch.randn(2, 9, generator=rng(0)), torch.ones(2) / 2, tau)
        assert torch.isfinite(weights).all()
        assert float(weights.sum()) == pytest.approx(1, abs=1e-6)


class TestDual:
    @settings(max_examples=40, deadline=None)
    @given(seed=SEEDS, mix=st.floats(0, 1), tau=st.sampled_from([0.0, 0.1, 5.0]))
    def test_is_concave(self, seed, mix, tau):
        classes = make_classes(seed, (6, 9), 2)
        atoms, shares = subsample(classes, 5, seed), shares_of(classes)
        first, second = 3 * torch.randn(2, 2, 5, generator=rng(seed), dtype=torch.float64)
        value = [
            float(dual_objective(g, classes, shares, atoms, tau))
            for g in (first, second, mix * first + (1 - mix) * second)
        ]
        assert value[2] >= mix * value[0] + (1 - mix) * value[1] - 1e-10

    @settings(max_examples=25, deadline=None)
    @given(seed=SEEDS, tau=st.sampled_from([0.0, 0.1, 5.0]))
    def test_never_exceeds_the_primal(self, seed, tau):
        classes = make_classes(seed, (6, 9), 2)
        atoms, shares = subsample(classes, 5, seed), shares_of(classes)
        potentials = torch.randn(2, 5, generator=rng(seed), dtype=torch.float64)
        weights = torch.rand(5, generator=rng(seed), dtype=torch.float64)
        upper = primal_value(classes, atoms, weights, shares, tau)
        assert float(dual_objective(potentials, classes, shares, atoms, tau)) <= upper + 1e-10

    def test_has_the_super_gradient_of_weights_minus_masses(self):
        classes = make_classes(1, (12, 20), 2)
        atoms, shares = subsample(classes, 6), shares_of(classes)
        potentials = torch.randn(2, 6, generator=rng(2), dtype=torch.float64, requires_grad=True)
        dual_objective(potentials, classes, shares, atoms, 0.7).backward()
        weights = barycenter_weights(potentials.detach(), shares, 0.7)
        for k, cost in enumerate(costs_to(classes, atoms)):
            atom = (cost - potentials.detach()[k]).argmin(1)
            mass = torch.bincount(atom, minlength=6).double() / len(cost)
            assert torch.allclose(potentials.grad[k], shares[k] * (weights - mass), atol=1e-12)

    def test_at_tau_zero_is_the_limit(self):
        classes = make_classes(1, (12, 20), 2)
        atoms, shares = subsample(classes, 6), shares_of(classes)
        potentials = torch.randn(2, 6, generator=rng(2), dtype=torch.float64)
        limit = dual_objective(potentials, classes, shares, atoms, 0.0)
        near = dual_objective(potentials, classes, shares, atoms, 1e-8)
        assert float(near) == pytest.approx(float(limit), abs=1e-6)


class TestOptimality:
    @pytest.mark.parametrize("tau", [0.0, 1e-7])
    @pytest.mark.parametrize(("seed", "sizes"), [(0, (8, 7)), (1, (5, 9, 6)), (2, (3, 12))])
    def test_the_dual_reaches_the_linear_program_as_tau_vanishes(self, seed, sizes, tau):
        classes = make_classes(seed, sizes, 2)
        atoms, shares = subsample(classes, 6, seed), shares_of(classes)
        optimum = linear_program(classes, atoms, shares)
        found = penalized_barycenter(classes, atoms=atoms, tau=tau, outer_rounds=0)
        scale = cost_scale(classes)
        assert -1e-6 <= (optimum - found.objective) / scale < 2e-3
        reached = primal_value(classes, atoms, found.weights, shares, tau)
        assert -1e-6 <= (reached - optimum) / scale < 5e-3

    @pytest.mark.parametrize("tau", [0.0, 0.01, 0.3, 3.0, 1000.0])
    def test_the_duality_gap_is_small_and_the_dual_is_a_lower_bound(self, tau):
        classes = make_classes(3, (90, 160), 8)
        found = penalized_barycenter(classes, n_atoms=48, tau=tau)
        upper = primal_value(classes, found.atoms, found.weights, shares_of(classes), tau)
        assert -1e-9 <= (upper - found.objective) / cost_scale(classes) < 5e-4
        assert found.converged

    def test_too_few_steps_are_reported_as_not_converged(self):
        found = penalized_barycenter(make_classes(3), n_atoms=32, max_iterations=2, tau=0.1)
        assert not found.converged

    @pytest.mark.parametrize("tau", [0.05, 2.0])
    def test_the_fields_belong_together(self, tau):
        classes = make_classes(4)
        found = penalized_barycenter(classes, n_atoms=20, tau=tau)
        shares = shares_of(classes)
        value = dual_objective(found.potentials, classes, shares, found.atoms, tau)
        assert float(value) == pytest.approx(found.objective, rel=1e-9)
        expected = barycenter_weights(found.potentials, shares, tau)
        assert torch.allclose(found.weights, expected, atol=1e-10)
        error = 0.0
        for k, cost in enumerate(costs_to(classes, found.atoms)):
            atom = (cost - found.potentials[k]).argmin(1)
            mass = torch.bincount(atom, minlength=20).double() / len(cost)
            error += float(shares[k] * (mass - found.weights).abs().sum())
        assert found.marginal_error == pytest.approx(error, abs=1e-9)

    def test_given_class_weights_replace_the_sizes(self):
        classes = make_classes(5)
        atoms = subsample(classes, 16)
        shares = torch.tensor([0.9, 0.1], dtype=torch.float64)
        found = penalized_barycenter(classes, atoms=atoms, tau=0.1, class_weights=5 * shares, outer_rounds=0)
        upper = primal_value(classes, atoms, found.weights, shares, 0.1)
        assert -1e-9 <= (upper - found.objective) / cost_scale(classes) < 1e-3


class TestClosedForms:
    def test_a_large_tau_gives_uniform_weights(self):
        found = penalized_barycenter(make_classes(6), n_atoms=25, tau=1e6)
        assert torch.allclose(found.weights, torch.full_like(found.weights, 1 / 25), rtol=1e-4)

    def test_a_small_tau_does_not(self):
        found = penalized_barycenter(make_classes(6), n_atoms=25, tau=0.0)
        assert float(found.weights.max()) > 2 / 25

    def test_identical_classes_on_their_own_points_cost_nothing(self):
        users = make_classes(7, (30,))[0]
        found = penalized_barycenter([users, users], atoms=users, tau=0.0, outer_rounds=0)
        assert found.objective == pytest.approx(0, abs=1e-3 * cost_scale([users]))
        assert torch.allclose(found.weights, torch.full_like(found.weights, 1 / 30), atol=2e-3)

    def test_one_class_is_its_own_barycenter(self):
        users = make_classes(7, (30,))[0]
        found = penalized_barycenter([users], n_atoms=30, tau=0.0)
        assert found.objective == pytest.approx(0, abs=1e-3 * cost_scale([users]))

    def test_one_atom_goes_to_the_weighted_mean(self):
        classes = make_classes(8)
        found = penalized_barycenter(classes, n_atoms=1)
        assert torch.allclose(found.atoms[0], torch.cat(classes).mean(0), atol=1e-10)
        spread = float((torch.cat(classes) - found.atoms).square().sum(1).mean())
        assert found.objective == pytest.approx(spread, rel=1e-6)

    def test_two_gaussians_give_the_gaussian_between_them(self):
        # N = 1200 points: the standard error of an entry of either covariance is about
        # sqrt(2 / 600) = 6 %, and 150 atoms in the plane quantize away a variance of order
        # 1/150 of it; the comparison is with the closed form of the sample moments, which
        # leaves quantization and the sampled, non-Gaussian shape: 8 %.
        g = rng(9)
        shape = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
        first = torch.randn(600, 2, generator=g, dtype=torch.float64)
        second = torch.randn(600, 2, generator=g, dtype=torch.float64) @ shape.T + 3
        found = penalized_barycenter([first, second], n_atoms=150, tau=0.0, outer_rounds=6)
        covariances = [np.cov(x.T.numpy(), bias=True) for x in (first, second)]
        expected = np.eye(2)
        for _ in range(50):
            root = np.real(sqrtm(expected))
            inverse = np.linalg.inv(root)
            middle = sum(0.5 * np.real(sqrtm(root @ c @ root)) for c in covariances)
            expected = inverse @ middle @ middle @ inverse
        mean = found.weights @ found.atoms
        centered = found.atoms - mean
        covariance = (found.weights[:, None] * centered).T @ centered
        target = (first.mean(0) + second.mean(0)) / 2
        assert torch.allclose(mean, target, atol=0.02)
        error = np.linalg.norm(covariance.numpy() - expected) / np.linalg.norm(expected)
        assert error < 0.08
        # neither of the classes would pass for it
        for c in covariances:
            assert np.linalg.norm(c - expected) / np.linalg.norm(expected) > 0.2
