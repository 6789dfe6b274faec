"""What the solver keeps: invariance, its support, warm starts, chance, and input that is hardly one."""

import math

import pytest
import torch
from hypothesis import strategies as st

from recbole_aia.losses import (
    penalized_barycenter,
)
from recbole_aia.losses.raid import costs
from tests.losses.raid.barycenters import (
    cost_scale,
    is_sound,
    make_classes,
    primal_value,
    rng,
    shares_of,
    subsample,
)

SEEDS = st.integers(0, 2**31 - 1)


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

        original = costs.squared_cost
        monkeypatch.setattr(costs, "squared_cost", recorded)
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
