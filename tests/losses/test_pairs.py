import pytest
import torch

from recbole_aia.losses import distribution_to_distribution, rank_margin, user_to_user


def users(n=60, d=4, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, d, generator=generator, dtype=torch.float64) + 2
    labels = torch.randint(classes, (n,), generator=generator)
    embeddings[labels == 1] += 0.5
    return embeddings, labels


def pairs_of_classes(labels):
    present = labels[labels >= 0].unique().tolist()
    return [(k, j) for k in present for j in present if k < j]


def plain_mmd(embeddings, labels):
    """Squared MMD of every pair of classes from full kernel matrices."""
    known = embeddings[labels >= 0]
    distances = lambda a, b: (a[:, None] - b[None]).square().sum(2)  # noqa: E731
    bandwidth = distances(known, known).mean()
    kernel = lambda a, b: sum(torch.exp(-distances(a, b) / (bandwidth * 2.0**p)) for p in range(-2, 3)).mean()  # noqa: E731
    total = 0
    for k, j in pairs_of_classes(labels):
        a, b = embeddings[labels == k], embeddings[labels == j]
        total = total + kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
    return total


class TestUserToUser:
    def test_it_is_the_double_loop(self):
        embeddings, labels = users()
        labels[:5] = -1
        total = 0.0
        for k, j in pairs_of_classes(labels):
            for a in embeddings[labels == k]:
                for b in embeddings[labels == j]:
                    total += float((a - b).square().sum())
        assert float(user_to_user(embeddings, labels)) == pytest.approx(total)

    def test_gradients_check_numerically(self):
        embeddings, labels = users(20)
        assert torch.autograd.gradcheck(lambda e: user_to_user(e, labels), embeddings.requires_grad_())

    def test_it_does_not_depend_on_the_origin_and_collapse_costs_nothing(self):
        embeddings, labels = users()
        torch.testing.assert_close(user_to_user(embeddings + 1e4, labels), user_to_user(embeddings, labels))
        assert abs(float(user_to_user(torch.ones(60, 4), labels))) < 1e-6


class TestDistributionToDistribution:
    def test_it_is_the_sum_over_pairs_of_full_matrices(self):
        embeddings, labels = users()
        labels[:5] = -1
        torch.testing.assert_close(distribution_to_distribution(embeddings, labels), plain_mmd(embeddings, labels))

    @pytest.mark.parametrize("chunk", [1, 7, 59])
    def test_chunks_change_neither_value_nor_gradient(self, chunk):
        embeddings, labels = users()
        results = []
        for size in (chunk, 60):
            here = embeddings.clone().requires_grad_()
            loss = distribution_to_distribution(here, labels, size)
            results.append((loss.detach(), torch.autograd.grad(loss, here)[0]))
        for ours, full in zip(*results, strict=True):
            torch.testing.assert_close(ours, full)

    def test_equal_classes_are_at_no_distance_and_others_are(self):
        embeddings, _ = users(30)
        twice, labels = torch.cat([embeddings, embeddings]), torch.arange(60) // 30
        assert abs(float(distribution_to_distribution(twice, labels))) < 1e-12
        twice[30:] += 1
        assert distribution_to_distribution(twice, labels) > 0.1

    def test_a_step_along_the_gradient_brings_classes_closer(self):
        embeddings, labels = users(80, classes=2)
        here = embeddings.clone().requires_grad_()
        before = distribution_to_distribution(here, labels)
        after = distribution_to_distribution(here - 0.5 * torch.autograd.grad(before, here)[0], labels)
        assert after < before


@pytest.mark.parametrize("loss", [user_to_user, distribution_to_distribution])
def test_one_class_and_shapes_that_disagree_are_refused(loss):
    with pytest.raises(ValueError, match="at least two"):
        loss(torch.ones(3, 2), torch.tensor([1, 1, -1]))
    with pytest.raises(ValueError, match="disagree"):
        loss(torch.ones(3, 2), torch.tensor([0, 1]))


class TestRankMargin:
    def test_an_order_with_leads_costs_nothing_and_a_swap_its_size(self):
        assert rank_margin(torch.tensor([[3.0, 2.0, 1.0]])) == 0
        assert float(rank_margin(torch.tensor([[3.0, 1.0, 2.0]]), 0.05)) == pytest.approx(1.05)

    def test_a_lead_below_the_margin_costs_what_is_missing(self):
        assert float(rank_margin(torch.tensor([[1.0, 0.98], [1.0, 0.99]]), 0.05)) == pytest.approx(0.07)
