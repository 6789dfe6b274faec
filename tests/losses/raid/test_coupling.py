"""What every coupling solver promises, and what is particular to each."""

import pytest
import torch

from recbole_aia.losses import penalized_barycenter, solve_coupling
from recbole_aia.losses.raid import costs

METHODS = ["semi_dual", "kl_projection", "exact"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they give at these sizes, on a shared machine a hundredfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def make_classes(dtype=torch.float64):
    g = rng(0)
    return [
        torch.randn(60, 3, generator=g, dtype=dtype),
        2 * torch.randn(110, 3, generator=g, dtype=dtype) + 1,
    ]


@pytest.fixture(scope="module")
def classes():
    return make_classes()


@pytest.fixture(scope="module")
def barycenter(classes):
    return penalized_barycenter(classes, n_atoms=20, tau=0.1)


@pytest.fixture(scope="module")
def couplings(classes, barycenter):
    return {method: solve_coupling(method, classes, barycenter) for method in METHODS}


def all_rows(users):
    return torch.arange(len(users))


@pytest.mark.parametrize("method", METHODS)
class TestCouplingContract:
    def test_every_user_ships_its_share(self, couplings, classes, method):
        for k, users in enumerate(classes):
            plan = couplings[method].plan(k)
            assert plan.shape == (len(users), 20)
            assert float(plan.min()) >= 0
            assert torch.allclose(plan.sum(1), torch.full_like(users[:, 0], 1 / len(users)))

    def test_every_atom_receives_its_weight(self, couplings, classes, barycenter, method):
        error = 0.0
        for k, users in enumerate(classes):
            received = couplings[method].plan(k).sum(0)
            off = float((received - barycenter.weights).abs().sum())
            # one atom per user: half a user per atom is what rounding alone leaves
            assert off < (0.5 * 20 / len(users) if method == "semi_dual" else 1e-3) + 0.05
            error += off * len(users) / 170
        expected = barycenter.marginal_error if method == "semi_dual" else 0
        assert error == pytest.approx(expected, abs=1e-3)

    def test_targets_are_the_barycentric_projection_of_the_plan(self, couplings, classes, barycenter, method):
        for k, users in enumerate(classes):
            expected = len(users) * couplings[method].plan(k) @ barycenter.atoms
            targets = couplings[method].targets(users, k, all_rows(users))
            assert torch.allclose(targets, expected, atol=1e-8)

    def test_targets_are_constants(self, couplings, classes, method):
        users = classes[0].clone().requires_grad_()
        assert not couplings[method].targets(users, 0, all_rows(users)).requires_grad

    def test_a_part_of_the_users_gets_its_part_of_the_targets(self, couplings, classes, method):
        rows = torch.tensor([7, 3, 50])
        whole = couplings[method].targets(classes[1], 1, all_rows(classes[1]))
        part = couplings[method].targets(classes[1][rows], 1, rows)
        assert torch.allclose(part, whole[rows], atol=1e-12)

    def test_its_cost_is_near_the_optimum(self, couplings, classes, barycenter, method):
        for k, users in enumerate(classes):
            cost = torch.cdist(users, barycenter.atoms).square()
            value, optimum = (float((couplings[m].plan(k) * cost).sum()) for m in (method, "exact"))
            independent = float((barycenter.weights * cost.mean(0)).sum())
            assert abs(value - optimum) < 0.15 * (independent - optimum)

    def test_the_dtype_of_the_embeddings_is_kept(self, method):
        classes = make_classes(torch.float32)
        barycenter = penalized_barycenter(classes, n_atoms=20, tau=0.1)
        coupling = solve_coupling(method, classes, barycenter)
        targets = coupling.targets(classes[0].half(), 0, all_rows(classes[0]))
        assert targets.dtype == torch.float16
        assert coupling.plan(0).dtype == torch.float32

    def test_another_number_of_classes_is_refused(self, classes, barycenter, method):
        with pytest.raises(ValueError, match="3 classes of samples"):
            solve_coupling(method, [*classes, classes[0]], barycenter)

    def test_atoms_without_weight_and_repeated_users_are_no_trouble(self, method):
        users = torch.randn(12, 2, generator=rng(5), dtype=torch.float64)
        classes = [users.repeat(2, 1), users[:1]]
        far = torch.full((1, 2), 1e3, dtype=torch.float64)
        found = penalized_barycenter(classes, atoms=torch.cat([users, far]), tau=1e-3)
        coupling = solve_coupling(method, classes, found)
        for k in range(2):
            targets = coupling.targets(classes[k], k, all_rows(classes[k]))
            assert torch.isfinite(targets).all()
            assert float(targets.abs().max()) < 10


class TestSemiDual:
    def test_a_user_goes_to_one_atom_by_the_potentials(self, couplings, classes, barycenter):
        for k, users in enumerate(classes):
            slack = torch.cdist(users, barycenter.atoms).square() - barycenter.potentials[k]
            expected = barycenter.atoms[slack.argmin(1)]
            assert torch.equal(couplings["semi_dual"].targets(users, k), expected)

    def test_a_tie_goes_to_the_lower_atom(self):
        users = torch.zeros(3, 2)
        found = penalized_barycenter([users], atoms=torch.zeros(4, 2))
        plan = solve_coupling("semi_dual", [users], found).plan(0)
        assert torch.equal(plan[:, 0], torch.full((3,), 1 / 3))

    def test_targets_build_no_matrix_larger_than_the_batch(self, classes, barycenter, monkeypatch):
        coupling = solve_coupling("semi_dual", classes, barycenter)
        stored = [v for v in vars(coupling).values() if isinstance(v, torch.Tensor)]
        assert all(len(classes[0]) not in v.shape for v in stored)
        assert costs.squared_cost(classes[0][:5], barycenter.atoms).shape == (5, 20)


@pytest.mark.parametrize("method", ["semi_dual", "kl_projection"])
def test_moved_users_are_followed(couplings, classes, barycenter, method):
    at_atoms = barycenter.atoms + 1e-4
    moved = couplings[method].targets(at_atoms, 0)
    assert moved.shape == at_atoms.shape
    before = couplings[method].targets(classes[0], 0)
    after = couplings[method].targets(classes[0] + 5, 0)
    assert float((after - before).mean()) > 0.5


class TestKLProjection:
    def test_the_map_is_continuous_in_the_user(self, couplings, classes):
        coupling = couplings["kl_projection"]
        shift = coupling.targets(classes[0] + 1e-6, 0) - coupling.targets(classes[0], 0)
        assert 0 < float(shift.abs().max()) < 1e-4

    def test_a_larger_epsilon_draws_targets_to_the_mean(self, classes, barycenter):
        spread = [
            float(
                solve_coupling("kl_projection", classes, barycenter, epsilon=epsilon)
                .targets(classes[1], 1)
                .var(0)
                .sum()
            )
            for epsilon in (0.02, 0.2, 2.0)
        ]
        assert spread[0] > spread[1] > spread[2]

    def test_epsilon_is_relative_to_the_cost(self, classes, barycenter, couplings):
        scaled = [100 * users for users in classes]
        far = penalized_barycenter(scaled, atoms=100 * barycenter.atoms, tau=1e3, outer_rounds=0)
        near = penalized_barycenter(classes, atoms=barycenter.atoms, tau=0.1, outer_rounds=0)
        a = solve_coupling("kl_projection", scaled, far).plan(0)
        b = solve_coupling("kl_projection", classes, near).plan(0)
        assert torch.allclose(a, b, atol=1e-5)

    @pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
    def test_epsilon_must_be_positive(self, classes, barycenter, epsilon):
        with pytest.raises(ValueError, match="expected a number > 0"):
            solve_coupling("kl_projection", classes, barycenter, epsilon=epsilon)


class TestExact:
    def test_it_asks_for_the_rows(self, couplings, classes):
        with pytest.raises(ValueError, match="pass rows"):
            couplings["exact"].targets(classes[0], 0)

    def test_it_does_not_follow_moved_users(self, couplings, classes):
        rows = all_rows(classes[0])
        before = couplings["exact"].targets(classes[0], 0, rows)
        assert torch.equal(couplings["exact"].targets(classes[0] + 5, 0, rows), before)


def test_an_unknown_method_is_named(classes, barycenter):
    with pytest.raises(ValueError, match="'greedy', expected semi_dual"):
        solve_coupling("greedy", classes, barycenter)
