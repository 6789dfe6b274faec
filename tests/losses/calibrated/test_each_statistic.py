"""What every statistic promises, each by itself; and what is particular to each."""

from typing import NamedTuple

import pytest
import torch

from recbole_aia.losses.calibrated.comparisons import Apart, ClassSums
from recbole_aia.losses.calibrated.statistics import (
    FeatureStatistic,
    Gaussian,
    GroupSums,
    Linear,
    Quadratic,
    RandomGaussian,
    Space,
    Squares,
    Steps,
    Table,
    Users,
    spaces,
    statistics_in,
)
from recbole_aia.losses.calibrated.statistics.spaces import N_FREQUENCIES
from tests.losses.calibrated.populations import users as heavy_tailed

KINDS = ("standardized", "white", "long axes", "band", "raw", "ridge")
ALL = sorted({s for kind in KINDS for exact in (True, False) for s in statistics_in(kind, exact)}, key=repr)


class Membership(NamedTuple):
    all_members: torch.Tensor
    counts: torch.Tensor


def space(d, k=None):
    """Some basis, which no statistic may take for granted."""
    generator = torch.Generator().manual_seed(d)
    k = d if k is None else k
    basis = torch.eye(d, dtype=torch.float64) if k == d else torch.randn(d, k, generator=generator, dtype=torch.float64)
    frequencies = torch.randn(k, N_FREQUENCIES, generator=generator, dtype=torch.float64) / k**0.5
    return Space("white", "white", basis, frequencies)


def white(n, d, seed=0):
    """Normal users whose covariance is that of white axes but for chance."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def group_sums(statistic, here, standardized, members):
    """A statistic's sums over groups, by itself."""
    moments = members @ standardized, torch.einsum("gn,na,nb->gab", members, standardized, standardized)
    parts = statistic.features(here, members)
    features = torch.cat(parts, dim=1) if parts else members[:, :0]
    groups = GroupSums(here, Membership(members, members.sum(1)), moments, statistic.needs_second)
    return statistic.sums(groups, features)


def discrepancies(statistic, here, standardized, first):
    """The statistic of the classes ``first`` [R, n] against their rests, for R ways to label users."""
    found = []
    for member in first:
        members = torch.stack([member, 1 - member])
        products, traces = group_sums(statistic, here, standardized, members)
        whole, own = products.sum(), traces.sum()
        sums = ClassSums(
            *(each.unsqueeze(0) for each in (products, traces, products.sum(1), whole.repeat(2), own.repeat(2)))
        )
        found.append(Apart(members.sum(1), len(member) - members.sum(1))(sums)[0, 0])
    return torch.stack(found)


@pytest.mark.parametrize("statistic", ALL, ids=repr)
class TestStatisticContract:
    def test_its_sums_are_those_of_its_kernel_over_pairs_of_users(self, statistic):
        standardized = heavy_tailed(60, 5)
        standardized = standardized / standardized.std(0)
        members = (torch.rand(3, 60, generator=torch.Generator().manual_seed(0)) < 0.5).double()
        here = Users(space(5, 3), standardized)
        gram = statistic.gram(here)
        products, traces = group_sums(statistic, here, standardized, members)
        torch.testing.assert_close(products, members @ gram @ members.t())
        torch.testing.assert_close(traces, members @ gram.diagonal())

    def test_it_gives_as_many_features_as_it_says(self, statistic):
        here, members = Users(space(5, 3), white(20, 5)), torch.ones(2, 20, dtype=torch.float64)
        assert sum(part.shape[1] for part in statistic.features(here, members)) == statistic.width(3)
        assert all(part.shape[0] == 2 for part in statistic.features(here, members))

    def test_permuted_labels_have_mean_zero_and_its_deviation(self, statistic):
        standardized, generator = white(120, 4), torch.Generator().manual_seed(0)
        here = Users(space(4), standardized)
        first = torch.stack([(torch.randperm(120, generator=generator) < 40).double() for _ in range(150)])
        unit = statistic.deviation(here) * Apart(torch.tensor([40.0]), torch.tensor([80.0])).factors
        scores = discrepancies(statistic, here, standardized, first) / unit
        assert abs(scores.mean()) < 0.33  # four standard errors
        assert 0.75 < scores.std() < 1.35

    def test_its_kernel_is_that_of_the_space_and_not_of_the_coordinates(self, statistic):
        standardized, here = white(30, 5), space(5, 3)
        inside = Space("white", "white", torch.eye(3, dtype=torch.float64), here.frequencies)
        grams = [statistic.gram(Users(here, standardized)), statistic.gram(Users(inside, standardized @ here.basis))]
        torch.testing.assert_close(*grams)

    def test_the_table_takes_it_under_its_own_name(self, statistic):
        rows = [row for kind in KINDS for exact in (True, False) if statistic in (row := statistics_in(kind, exact))]
        assert rows
        for row in rows:
            assert [each.name for each in row].count(statistic.name) == 1


class TestKernels:
    """Each kernel for one pair of users, and its deviation where that is known in closed form."""

    x, y = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.5, 1.0, 2.0]).double()

    def between(self, statistic):
        return float(statistic.gram(Users(space(3), torch.stack([self.x, self.y])))[0, 1])

    def deviation(self, statistic, d=6):
        return float(statistic.deviation(Users(space(d), white(3000, d))))

    def test_linear(self):
        assert self.between(Linear()) == pytest.approx(float(self.x @ self.y))
        assert self.deviation(Linear()) == pytest.approx((2 * 6) ** 0.5, rel=0.05)

    def test_quadratic(self):
        assert self.between(Quadratic()) == pytest.approx(float(self.x @ self.y) ** 2)
        assert self.deviation(Quadratic()) == pytest.approx(2 * (6 * 7) ** 0.5, rel=0.1)

    def test_squares(self):
        assert self.between(Squares()) == pytest.approx(float(self.x.square() @ self.y.square()))
        assert self.deviation(Squares()) == pytest.approx((8 * 6) ** 0.5, rel=0.1)

    @pytest.mark.parametrize("b", [2.0, 1.0, 0.5, 0.25, 0.125])
    def test_gaussian(self, b):
        distance = float((self.x - self.y).square().sum())
        assert self.between(Gaussian(b)) == pytest.approx(torch.tensor(-distance / (2 * b * 3)).exp().item())
        k, s = 6, 6 * b
        c2, c4, c13 = ((1 + 2 / s) ** (-k / 2), (1 + 4 / s) ** (-k / 2), ((1 + 1 / s) * (1 + 3 / s)) ** (-k / 2))
        assert self.deviation(Gaussian(b)) == pytest.approx((2 * (c4 - 2 * c13 + c2**2)) ** 0.5, rel=0.05)

    @pytest.mark.parametrize("b", [2.0, 1.0, 0.5])
    def test_random_gaussian(self, b):
        here = space(3)
        phases = (self.x - self.y) @ here.frequencies / b**0.5
        assert self.between(RandomGaussian(b)) == pytest.approx(float(phases.cos().sum()))
        many = Space("white", "white", here.basis, torch.cat([space(3).frequencies, white(3, 20_000) / 3**0.5], dim=1))
        users = Users(many, torch.stack([self.x, self.y]))
        mean = float(RandomGaussian(b).gram(users)[0, 1]) / many.frequencies.shape[1]
        assert mean == pytest.approx(self.between(Gaussian(b)), abs=0.02)

    @pytest.mark.parametrize("t", [0.0, 0.8, 1.6, 2.4])
    def test_steps(self, t):
        def sides(x):
            up, down = torch.sigmoid(4 * (x - t)), torch.sigmoid(4 * (-x - t))
            return torch.cat([up, down]) if t else up

        assert self.between(Steps(t)) == pytest.approx(float(sides(self.x) @ sides(self.y)))


class TestTable:
    def found(self, exact, n=200, d=20):
        standardized = white(n, d)
        return spaces(standardized, standardized.std(0), torch.Generator().manual_seed(0)), exact

    @pytest.mark.parametrize("exact", [True, False])
    def test_every_row_has_a_name_of_its_own(self, exact):
        names = Table(*self.found(exact)).names
        assert len(names) == len(set(names))
        assert {"white, axes 1-8 squares", "ridge 0.1 linear", "raw quadratic", "standardized steps 2.4"} <= set(names)

    def test_only_pairs_of_users_have_the_finest_gaussians(self):
        assert "white Gaussian 0.125" in Table(*self.found(True)).names
        assert "white Gaussian 0.25" not in Table(*self.found(False)).names

    @pytest.mark.parametrize("exact", [True, False])
    def test_its_deviations_are_those_of_its_statistics(self, exact):
        (found, _), standardized = self.found(exact), white(200, 20)
        alone = [s.deviation(Users(space, standardized)) for space in found for s in statistics_in(space.kind, exact)]
        assert torch.equal(Table(found, exact).deviations(standardized), torch.stack(alone))

    def test_a_new_statistic_is_one_class_and_one_entry(self, monkeypatch):
        class Cubes(FeatureStatistic):
            name = "cubes"

            def n_maps(self, dimensions):
                return dimensions

            def maps(self, users):
                return [users.points**3]

        from recbole_aia.losses import ClassDiscrepancy
        from recbole_aia.losses.calibrated.statistics import table

        known = (torch.arange(200) % 2).unsqueeze(1)
        embeddings = white(200, 3)
        before = ClassDiscrepancy(embeddings, known)
        there = table.statistics_in
        monkeypatch.setattr(table, "statistics_in", lambda *of: there(*of) + ((Cubes(),) if of[0] == "white" else ()))
        after = ClassDiscrepancy(embeddings, known)
        assert [name for name in after.kernels if name not in before.kernels] == ["white cubes"]
        others = [i for i, name in enumerate(after.kernels) if name != "white cubes"]
        assert torch.equal(after(embeddings)[others], before(embeddings))
