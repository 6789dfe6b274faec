"""The dual, its weights and the solver, against linear programs and closed forms."""

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import linprog

from recbole_aia.losses import (
    Barycenter,
    _costs,
    barycenter_weights,
    dual_objective,
    penalized_barycenter,
)

SEEDS = st.integers(0, 2**31 - 1)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they give at these sizes, on a shared machine a hundredfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


class TestInvariance:
    def test_the_order_of_users_within_a_class_does_not_matter(self):
        classes = make_classes(10)
        atoms = subsample(classes, 24)
        shuffled = [x[torch.randperm(len(x), generator=rng(1))] for x in classes]
        a, b = (penalized_barycenter(x, atoms=atoms, tau=0.2) for x in (classes, shuffled))
        assert a.objective == pytest.approx(b.objective, rel=1e-6)
        assert torch.allclose(a.weights, b.weights, atol=1e-6)
        assert torch.allclose(a.atoms, b.atoms, atol=1e-6)

    def test_the_order_of_classes_does_not_matter(self):
        classes = make_classes(11, (20, 40, 30))
        atoms = subsample(classes, 24)
        a = penalized_barycenter(classes, atoms=atoms, tau=0.2)
        b = penalized_barycenter(classes[::-1], atoms=atoms, tau=0.2)
        assert a.objective == pytest.approx(b.objective, rel=1e-6)
        assert torch.allclose(a.atoms, b.atoms, atol=1e-6)
        assert torch.allclose(a.potentials, b.potentials.flip(0), atol=1e-5)

    @pytest.mark.parametrize("factor", [1e-3, 1e-2, 30.0, 1e3])
    def test_scaling_the_data_scales_the_barycenter(self, factor):
        classes = make_classes(12)
        a = penalized_barycenter(classes, n_atoms=24, tau=0.2)
        b = penalized_barycenter([factor * x for x in classes], n_atoms=24, tau=0.2 * factor**2)
        assert b.objective == pytest.approx(a.objective * factor**2, rel=1e-6)
        assert torch.allclose(b.weights, a.weights, atol=1e-6)
        assert torch.allclose(b.atoms, factor * a.atoms, atol=1e-6 * factor)
        assert a.converged
        assert b.converged

    def test_shifting_the_data_shifts_the_barycenter(self):
        classes = make_classes(13)
        a = penalized_barycenter(classes, n_atoms=24, tau=0.2)
        b = penalized_barycenter([x + 50 for x in classes], n_atoms=24, tau=0.2)
        assert b.objective == pytest.approx(a.objective, rel=1e-6)
        assert torch.allclose(b.atoms, a.atoms + 50, atol=1e-5)

    @pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
    def test_tau_is_absolute_and_any_embedding_size_converges(self, scale):
        classes = [scale * x.float() for x in make_classes(14, (60, 100), 16)]
        found = penalized_barycenter(classes, n_atoms=32, tau=1.0)
        upper = primal_value(classes, found.atoms, found.weights, shares_of(classes), 1.0)
        # float32 weights leave log(Q) = 3.5 accurate to about 1e-6
        slack = 1e-6 * math.log(32)
        assert upper - found.objective < 1e-3 * cost_scale(classes) + slack
        assert found.converged


class TestSupport:
    def test_no_outer_round_keeps_the_atoms_bit_for_bit(self):
        classes = make_classes(15, dtype=torch.float32)
        atoms = 100 + torch.randn(12, 3, generator=rng(0))
        found = penalized_barycenter(classes, atoms=atoms, outer_rounds=0)
        assert torch.equal(found.atoms, atoms)

    def test_moving_the_support_lowers_the_cost(self):
        classes = make_classes(16)
        atoms = subsample(classes, 16)
        values = [penalized_barycenter(classes, atoms=atoms, tau=0.1, outer_rounds=r).objective for r in (0, 1, 3)]
        assert values[0] > values[1] > values[2]

    def test_an_atom_without_mass_stays_put(self):
        classes = make_classes(17)
        far = torch.full((1, 3), 1e3, dtype=torch.float64)
        atoms = torch.cat([subsample(classes, 8), far])
        found = penalized_barycenter(classes, atoms=atoms, tau=1e-3, outer_rounds=2)
        assert torch.equal(found.atoms[8], far[0])
        assert float(found.weights[8]) < 1e-6
        assert not torch.isclose(found.atoms[:8], atoms[:8]).any()

    def test_the_initial_atoms_are_users(self):
        classes = make_classes(18)
        found = penalized_barycenter(classes, n_atoms=10, outer_rounds=0, generator=rng(3))
        distances = torch.cdist(found.atoms, torch.cat(classes))
        assert (distances.min(1).values < 1e-6).all()
        assert len(found.atoms.unique(dim=0)) == 10


class TestWarmStart:
    def test_it_takes_fewer_steps_and_is_no_worse(self):
        classes = make_classes(19, (90, 160), 8)
        cold = penalized_barycenter(classes, n_atoms=48, tau=0.3)
        moved = [x + 0.02 * torch.randn(x.shape, generator=rng(k)) for k, x in enumerate(classes)]
        warm = penalized_barycenter(moved, tau=0.3, warm_start=cold)
        fresh = penalized_barycenter(moved, n_atoms=48, tau=0.3)
        assert warm.iterations < fresh.iterations
        assert warm.objective <= fresh.objective + 1e-3 * cost_scale(classes)
        assert warm.converged

    def test_it_may_change_tau(self):
        classes = make_classes(20)
        first = penalized_barycenter(classes, n_atoms=24, tau=3.0)
        second = penalized_barycenter(classes, tau=0.0, warm_start=first)
        upper = primal_value(classes, second.atoms, second.weights, shares_of(classes), 0.0)
        assert -1e-9 <= (upper - second.objective) / cost_scale(classes) < 1e-3

    def test_one_of_another_shape_is_refused(self):
        first = penalized_barycenter(make_classes(20), n_atoms=8)
        with pytest.raises(ValueError, match="2 classes of width 3, samples have 3 of width 3"):
            penalized_barycenter(make_classes(20, (5, 6, 7)), warm_start=first)


class TestMiniBatch:
    def test_it_comes_close_to_the_full_batch(self):
        classes = make_classes(21, (400, 700), 8)
        atoms = subsample(classes, 48)
        options = {"atoms": atoms, "tau": 0.2, "outer_rounds": 0}
        full = penalized_barycenter(classes, **options)
        mini = penalized_barycenter(classes, batch_size=64, **options)
        scale = cost_scale(classes)
        assert -1e-4 <= (full.objective - mini.objective) / scale < 3e-3
        upper = primal_value(classes, atoms, mini.weights, shares_of(classes), 0.2)
        assert (upper - mini.objective) / scale < 2e-2
        assert float((mini.weights - full.weights).abs().sum()) < 0.1

    def test_no_matrix_is_larger_than_the_batch(self, monkeypatch):
        shapes = []

        def recorded(points, atoms):
            shapes.append((len(points), len(atoms)))
            return original(points, atoms)

        original = _costs.squared_cost
        monkeypatch.setattr(_costs, "squared_cost", recorded)
        penalized_barycenter(make_classes(22), n_atoms=9, batch_size=16, max_iterations=20)
        assert max(shapes) == (16, 9)

    def test_a_batch_as_large_as_the_classes_is_the_full_batch(self):
        classes = make_classes(23)
        a = penalized_barycenter(classes, n_atoms=12)
        b = penalized_barycenter(classes, n_atoms=12, batch_size=70)
        assert torch.equal(a.potentials, b.potentials)


class TestRandomness:
    @pytest.mark.parametrize("batch_size", [None, 16])
    def test_it_comes_from_the_generator_alone(self, batch_size):
        classes = make_classes(24)

        def solve(seed):
            return penalized_barycenter(
                classes, n_atoms=12, batch_size=batch_size, generator=rng(seed), max_iterations=30
            )

        before = torch.random.get_rng_state()
        a, b, c = solve(1), solve(1), solve(2)
        assert torch.equal(before, torch.random.get_rng_state())
        assert torch.equal(a.potentials, b.potentials)
        assert not torch.equal(a.atoms, c.atoms)


def is_sound(found: Barycenter):
    tensors = (found.atoms, found.weights, found.potentials)
    return (
        all(torch.isfinite(x).all() for x in tensors)
        and math.isfinite(found.objective)
        and 0 <= found.marginal_error <= 2 + 1e-6
        and float(found.weights.min()) >= 0
        and float(found.weights.sum()) == pytest.approx(1, abs=1e-5)
    )


class TestDegenerateInput:
    @pytest.mark.parametrize("tau", [0.0, 1e-300, 1e-12, 1.0, 1e12])
    @pytest.mark.parametrize("batch_size", [None, 2])
    @pytest.mark.parametrize(
        "classes",
        [
            [torch.zeros(5, 2), torch.zeros(3, 2)],
            [torch.ones(4, 2), torch.ones(4, 2) * 2],
            [torch.ones(1, 2), torch.randn(6, 2, generator=rng(0))],
            [torch.ones(1, 2), torch.zeros(1, 2)],
            [torch.randn(6, 2, generator=rng(1)).repeat(3, 1), torch.ones(2, 2)],
            [torch.full((4, 2), 1e6), torch.full((4, 2), 1e6)],
            [1e-20 * torch.randn(5, 2, generator=rng(2)), torch.zeros(3, 2)],
        ],
        ids=["one point", "two points", "one user", "two users", "repeats", "far point", "tiny"],
    )
    def test_never_gives_nan(self, classes, tau, batch_size):
        found = penalized_barycenter(classes, n_atoms=4, tau=tau, batch_size=batch_size, max_iterations=20)
        assert is_sound(found)

    def test_more_atoms_than_users_are_capped_at_the_users(self):
        found = penalized_barycenter(make_classes(25, (3, 4)), n_atoms=50)
        assert found.atoms.shape == (7, 3)
        assert found.potentials.shape == (2, 7)
        assert is_sound(found)

    def test_given_atoms_may_outnumber_the_users(self):
        atoms = torch.randn(30, 3, generator=rng(0), dtype=torch.float64)
        found = penalized_barycenter(make_classes(25, (3, 4)), atoms=atoms, tau=0.1)
        assert found.atoms.shape == (30, 3)
        assert is_sound(found)

    def test_ties_go_to_the_lower_atom(self):
        users = torch.zeros(4, 2)
        found = penalized_barycenter([users], atoms=torch.zeros(3, 2), tau=1.0)
        # all mass on the first of three equal atoms, weights 1/3 each
        assert found.marginal_error == pytest.approx(4 / 3, abs=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_the_dtype_of_the_samples_is_kept(self, dtype):
        found = penalized_barycenter(make_classes(26, dtype=torch.float64), n_atoms=8)
        cast = penalized_barycenter([x.to(dtype) for x in make_classes(26)], n_atoms=8)
        assert {cast.atoms.dtype, cast.weights.dtype, cast.potentials.dtype} == {dtype}
        assert cast.objective == pytest.approx(found.objective, rel=0.02)

    def test_no_gradient_is_recorded(self):
        classes = [x.requires_grad_() for x in make_classes(27)]
        found = penalized_barycenter(classes, n_atoms=8)
        assert not found.atoms.requires_grad
        assert not found.weights.requires_grad


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tau": -0.1}, "tau is -0.1"),
            ({"tau": math.nan}, "tau is nan"),
            ({"n_atoms": 0}, "n_atoms is 0"),
            ({"outer_rounds": -1}, "outer_rounds is -1"),
            ({"max_iterations": 0}, "max_iterations is 0"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"class_weights": torch.tensor([1.0, -1.0])}, "nonnegative"),
            ({"class_weights": torch.ones(3)}, r"expected \[2\]"),
            ({"atoms": torch.ones(4, 2)}, r"expected \[Q, 3\]"),
            ({"atoms": torch.full((4, 3), math.inf)}, "not finite"),
        ],
    )
    def test_an_option_out_of_range_is_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            penalized_barycenter(make_classes(28), **options)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            ([], "at least one class"),
            ([torch.ones(3, 2), torch.ones(0, 2)], "class 1 has shape"),
            ([torch.ones(3, 2), torch.ones(3, 4)], "class 1 has shape"),
            ([torch.ones(3, 2), torch.full((3, 2), math.nan)], "class 1 holds"),
        ],
    )
    def test_samples_that_cannot_be_used_are_named(self, samples, message):
        with pytest.raises(ValueError, match=message):
            penalized_barycenter(samples)
