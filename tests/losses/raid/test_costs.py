import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_aia.losses import penalized_barycenter
from recbole_aia.losses.raid.costs import ClassCosts, JointCosts, Kernel, soft_response, squared_cost


@settings(deadline=None)
@given(seed=st.integers(0, 1000), distance=st.floats(0, 20), smoothing=st.sampled_from([0.03, 0.01, 0.001]))
def test_a_kernel_gives_the_masses_of_the_soft_assignment(seed, distance, smoothing):
    torch.manual_seed(seed)
    cost, start = torch.rand(40, 12), 0.3 * torch.randn(12)
    kernel = Kernel(cost, start, smoothing)
    near = start + distance * smoothing * (2 * torch.rand(12) - 1)
    assert kernel.serves(near, smoothing)
    expected = soft_response(cost, near, smoothing).mean(0)
    torch.testing.assert_close(kernel.mass(near), expected, rtol=1e-3, atol=1e-6)
    assert float(kernel.mass(near).sum()) == pytest.approx(1, abs=1e-5)


def test_a_kernel_serves_neither_another_smoothing_nor_potentials_far_away():
    kernel = Kernel(torch.rand(5, 3), torch.zeros(3), 0.01)
    assert not kernel.serves(torch.zeros(3), 0.02)
    assert not kernel.serves(torch.tensor([0.0, 0.0, 0.3]), 0.01)


def test_cached_and_blockwise_masses_agree_for_moving_potentials():
    torch.manual_seed(0)
    samples, atoms = [torch.randn(60, 4), torch.randn(25, 4) + 1], torch.randn(10, 4)
    scale = float(squared_cost(torch.cat(samples), atoms).mean())
    cached, blocks = (ClassCosts(samples, atoms, scale, size) for size in (None, 16))
    for spread in (0.0, 0.01, 0.5, 2.0):
        potentials = spread * torch.randn(2, 10)
        torch.testing.assert_close(
            cached.masses(potentials, 0.01), blocks.masses(potentials, 0.01), rtol=1e-3, atol=1e-6
        )


def test_the_costs_of_all_classes_in_one_matrix_give_the_masses_too():
    torch.manual_seed(0)
    samples, atoms = [torch.randn(n, 4) + n / 50 for n in (60, 25, 1)], torch.randn(10, 4)
    scale = float(squared_cost(torch.cat(samples), atoms).mean())
    blocks, joint = ClassCosts(samples, atoms, scale, 16), JointCosts([squared_cost(x, atoms) / scale for x in samples])
    for spread in (0.0, 0.5, 2.0):
        potentials = spread * torch.randn(3, 10)
        torch.testing.assert_close(joint.masses(potentials, 0.01), blocks.masses(potentials, 0.01))


@pytest.mark.parametrize("warm", [False, True])
def test_a_gpus_way_finds_as_good_a_barycenter(monkeypatch, warm):
    """On the CPU, with the costs in one matrix and a look at the marginals after each ten steps."""
    torch.manual_seed(0)
    samples = [torch.randn(n, 6) + k for k, n in enumerate((150, 90, 60))]

    def solve():
        start = penalized_barycenter(samples, n_atoms=24, tau=0.1)
        return penalized_barycenter(samples, n_atoms=24, tau=0.1, warm_start=start) if warm else start

    ours = solve()
    together = ClassCosts.masses

    def masses(self, potentials, smoothing):
        self._joint = self._joint or JointCosts(self._cached)
        return together(self, potentials, smoothing)

    monkeypatch.setattr(ClassCosts, "masses", masses)
    monkeypatch.setattr("recbole_aia.losses.raid.ascent.look_after", lambda tensor: 10)
    on_gpu = solve()
    assert on_gpu.converged
    assert on_gpu.objective == pytest.approx(ours.objective, rel=1e-3)
