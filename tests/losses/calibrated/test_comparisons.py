import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict

from recbole_aia.losses import ClassDiscrepancy, align_vectors
from recbole_aia.losses.calibrated.comparisons import Apart, ClassSums
from recbole_aia.losses.calibrated.statistics import spread
from tests.losses.calibrated.populations import labels, plain, users


def neighbours(k=7):
    """Users of classes in a row, and where the classes' own statistics alone take them."""
    generator = torch.Generator().manual_seed(0)
    embeddings, known = torch.randn(800, 32, generator=generator), labels(800, k)
    embeddings[:, :8] += 0.15 * known
    discrepancy = ClassDiscrepancy(embeddings, known, exact_users=0)
    alone = align_vectors(embeddings, lambda users: discrepancy(users)[:, :k])[0]
    return embeddings, known, discrepancy, alone


class TestApart:
    def test_it_is_the_unbiased_estimate(self):
        known, points = labels(50, 3)[:, 0], users(50, 4)
        kernel = (points @ points.t()).exp().clamp_max(5)
        members = torch.stack([(known == k).double() for k in range(3)])
        products, traces = members @ kernel @ members.t(), members @ kernel.diagonal()
        whole, own = products.sum().repeat(3), traces.sum().repeat(3)
        sums = ClassSums(*(each.unsqueeze(0) for each in (products, traces, products.sum(1), whole, own)))
        sizes = members.sum(1)
        expected = torch.stack([plain(kernel, known == k) for k in range(3)])
        torch.testing.assert_close(Apart(sizes, 50 - sizes)(sums)[0], expected)


class TestPairs:
    def setup_method(self):
        self.embeddings, self.known = users(200, 4), labels(200, 5)
        standard = (self.embeddings - self.embeddings.mean(0)) / self.embeddings.std(0)
        self.gram, self.unit = standard @ standard.t(), float(spread(standard @ standard.t()))
        self.found = ClassDiscrepancy(self.embeddings, self.known)(self.embeddings)[0]

    def test_the_order_is_the_product_of_labels_and_kernel(self):
        ranks = self.known[:, 0].double()
        ranks = (ranks - ranks.mean()) / ranks.std(correction=0)
        pairs = self.gram.fill_diagonal_(0)
        mean = (pairs * ranks * ranks.unsqueeze(1)).sum() / (200 * 199) + pairs.sum() / (200 * 199) / 199
        torch.testing.assert_close(self.found[-2], mean * (200 * 199) ** 0.5 / self.unit)

    def test_they_are_the_covariances_of_classes_but_for_what_those_fix(self):
        known, gram = self.known, self.gram.fill_diagonal_(0)
        rows, grand = gram.sum(1) / 199, gram.sum() / (200 * 199)
        centered = gram - rows - rows.unsqueeze(1) + grand
        members = [known[:, 0] == k for k in range(5)]
        pairs = torch.combinations(torch.arange(5))
        sizes = torch.tensor([float(member.sum()) for member in members], dtype=torch.double)
        covariances = torch.stack([centered[members[i]][:, members[j]].mean() for i, j in pairs])
        covariances = covariances * sizes[pairs].prod(1).sqrt() / (self.unit / 2**0.5)
        # With what a class has in common with all others taken out, in the least squares.
        shares = torch.zeros(10, 5, dtype=torch.double)
        for row, (i, j) in enumerate(pairs):
            shares[row, i], shares[row, j] = sizes[j].sqrt(), sizes[i].sqrt()
        free = covariances - shares @ torch.linalg.lstsq(shares, covariances.unsqueeze(1)).solution.squeeze(1)
        torch.testing.assert_close(self.found[-1], free.norm() - 5**0.5, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("k", [4, 7, 12])
    def test_random_groups_are_at_chance(self, k):
        embeddings, known = users(400, 16), labels(400, k)
        orders = [torch.randperm(400, generator=torch.Generator().manual_seed(seed)) for seed in range(30)]
        draws = [ClassDiscrepancy(embeddings, known[order], exact_users=0)(embeddings)[:, -2:] for order in orders]
        assert torch.stack(draws).mean(0).abs().max() < 0.8

    def test_random_groups_of_users_who_stand_apart_from_all_others_are_at_chance(self):
        embeddings, known, rest = users(300, 16), labels(300, 7), users(900, 16, seed=1)
        others = {"others": rest + 3 * rest.std(0), "other_labels": labels(900, 7)}
        orders = [torch.randperm(300, generator=torch.Generator().manual_seed(seed)) for seed in range(12)]
        draws = [ClassDiscrepancy(embeddings, known[order], exact_users=0, **others) for order in orders]
        assert torch.stack([draw(embeddings)[:, -1] for draw in draws]).mean(0).abs().max() < 1.2

    def test_neighbours_stand_together_where_each_class_is_at_chance(self):
        _, _, discrepancy, alone = neighbours()
        assert discrepancy(alone)[:, :-2].abs().max() <= 0.5
        assert discrepancy(alone)[:, -2].max() > 3
        assert discrepancy(alone)[:, -1].max() > 3

    def test_a_regression_reads_the_order_until_that_is_at_chance_too(self):
        embeddings, known, discrepancy, alone = neighbours()
        together = align_vectors(embeddings, discrepancy)[0]
        order = known[:, 0].double().numpy()

        def read(there):
            return np.corrcoef(cross_val_predict(Ridge(10.0), there.numpy(), order, cv=5), order)[0, 1]

        assert read(alone) > 0.2
        assert abs(read(together)) < 0.08  # two standard errors

    def test_two_or_three_classes_have_none(self):
        for k in (2, 3):
            assert len(ClassDiscrepancy(users(100, 4), labels(100, k)).classes) == k

    def test_a_kernel_that_says_nothing_says_nothing_of_pairs(self):
        embeddings = torch.tensor([[1.0], [-1.0]]).repeat(100, 1)
        discrepancy = ClassDiscrepancy(embeddings, labels(200, 4))
        row = discrepancy.kernels.index("standardized quadratic")
        assert not discrepancy(embeddings)[row].any()
