import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_aia.losses import ClassDiscrepancy
from tests.losses.calibrated.populations import labels, leaky, plain, users


class TestStatistics:
    def test_they_are_the_unbiased_estimate_of_their_kernel(self):
        embeddings, known = leaky()
        scores = ClassDiscrepancy(embeddings, known)(embeddings)
        standard = (embeddings - embeddings.mean(0)) / embeddings.std(0)
        linear, squares = standard @ standard.t(), standard.square() @ standard.square().t()
        kernels = linear, linear.square(), squares
        expected = torch.stack([plain(kernel, known[:, 0] == 1) for kernel in kernels])
        # The unit is known for itself: it is the same for all labels.
        other = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(1))]
        again = ClassDiscrepancy(embeddings, other)(embeddings)
        reference = torch.stack([plain(kernel, other[:, 0] == 1) for kernel in kernels])
        torch.testing.assert_close(scores[:3, 1] / again[:3, 1], expected / reference)

    @pytest.mark.parametrize("exact_users", [0, 2048])
    def test_permuted_labels_have_mean_zero_and_deviation_one(self, exact_users):
        embeddings, known = users(160, 4), labels(160, 2, 4)
        draws = []
        for seed in range(60):
            order = torch.randperm(160, generator=torch.Generator().manual_seed(seed))
            draws.append(ClassDiscrepancy(embeddings, known[order], exact_users=exact_users)(embeddings))
        scores = torch.stack(draws)
        assert scores.mean(0).abs().max() < 0.55  # about four standard errors
        assert scores.std(0).min() > 0.4
        assert scores.std(0)[:, :-1].min() > 0.6  # lengths, the last column, scatter less for few pairs
        assert scores.std(0).max() < 1.6

    def test_one_user_far_out_does_not_make_up_the_unit(self):
        embeddings, known = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)), labels(300, 2)
        embeddings[0] = 50
        generator = torch.Generator().manual_seed(1)
        orders = [torch.randperm(300, generator=generator) for _ in range(60)]
        draws = [ClassDiscrepancy(embeddings, known[order])(embeddings)[:, 0] for order in orders]
        assert torch.stack(draws).std(0).min() > 0.4

    def test_a_leak_stands_far_above_chance(self):
        embeddings, known = leaky()
        assert ClassDiscrepancy(embeddings, known)(embeddings).max() > 10

    def test_classes_matched_exactly_stand_below_chance(self):
        embeddings, known = leaky()
        for k in (0, 1):
            embeddings[known[:, 0] == k] -= embeddings[known[:, 0] == k].mean(0)
        linear = ClassDiscrepancy(embeddings, known)(embeddings)[0]
        assert linear.max() < -1

    def test_each_step_is_the_unbiased_estimate_of_its_kernel(self):
        embeddings, known = leaky()
        discrepancy = ClassDiscrepancy(embeddings, known)
        standard = (embeddings - embeddings.mean(0)) / embeddings.std(0)
        sides = torch.cat([torch.sigmoid(4 * (standard - 1.6)), torch.sigmoid(4 * (-standard - 1.6))], dim=1)
        expected = plain(sides @ sides.t(), known[:, 0] == 1)
        row = discrepancy.kernels.index("standardized steps 1.6")
        torch.testing.assert_close((discrepancy(embeddings) * discrepancy._deviations)[row, 1], expected)

    def test_users_in_the_tails_are_seen_where_the_middle_says_nothing(self):
        embeddings, known = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)), labels(2000, 2)
        tails = (embeddings.abs() > 2.3) & (known == 1)
        discrepancy = ClassDiscrepancy(torch.where(tails, 0.3 * embeddings, embeddings), known)
        found = dict(
            zip(discrepancy.kernels, discrepancy(torch.where(tails, 0.3 * embeddings, embeddings)), strict=True)
        )
        assert found["standardized steps 2.4"].max() > 3 * found["standardized steps 0"].abs().max()
        assert found["standardized steps 2.4"].max() > 3

    def test_long_axes_are_seen_where_short_ones_make_up_for_them(self):
        lengths = torch.tensor([4.0] * 4 + [1.0] * 12)
        turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]
        known, axes = labels(1000, 2), users(1000, 16, dtype=torch.float32)
        axes = axes @ torch.linalg.inv(torch.linalg.cholesky(axes.t().cov()).t())
        for k in (0, 1):
            axes[known[:, 0] == k, 4:] -= axes[known[:, 0] == k, 4:].mean(0)
        axes[:, :4] += 0.06 * known
        embeddings = (axes * lengths) @ turn
        discrepancy = ClassDiscrepancy(embeddings, known)
        found = dict(zip(discrepancy.kernels, discrepancy(embeddings)[:, 0].tolist(), strict=True))
        assert found["white, long axes linear"] > found["white linear"] + 1

    def test_bands_of_axes_are_seen_where_others_make_up_for_them(self):
        generator = torch.Generator().manual_seed(7)
        axes = torch.randn(2000, 24, generator=generator)
        known = torch.randint(0, 2, (2000, 1), generator=generator)
        # Classes differ in how the long axes go together, and are closer than chance on the short ones.
        axes[:, 1] += 0.25 * (2 * known[:, 0] - 1) * axes[:, 0]
        for k in (0, 1):
            short, everyone = axes[known[:, 0] == k, 8:], axes[:, 8:]
            ours, theirs = (torch.linalg.cholesky(part.t().cov()) for part in (short, everyone))
            axes[known[:, 0] == k, 8:] = (short - short.mean(0)) @ torch.linalg.inv(ours).t() @ theirs.t()
        turn = torch.linalg.qr(torch.randn(24, 24, generator=generator))[0]
        embeddings = (axes * torch.tensor([3.0] * 8 + [1.0] * 16)) @ turn
        discrepancy = ClassDiscrepancy(embeddings, known)
        found = dict(zip(discrepancy.kernels, discrepancy(embeddings)[:, 0].tolist(), strict=True))
        assert found["white, axes 1-8 quadratic"] > found["white quadratic"] + 3

    def test_a_single_axis_is_seen_that_all_second_moments_drown(self):
        generator = torch.Generator().manual_seed(3)
        axes, known = torch.randn(900, 64, generator=generator), labels(900, 2)
        axes[:, 63] *= 0.3 * torch.where(known[:, 0] == 1, 0.5, 1.0)
        embeddings = axes @ torch.linalg.qr(torch.randn(64, 64, generator=generator))[0]
        discrepancy = ClassDiscrepancy(embeddings, known)
        found = dict(zip(discrepancy.kernels, discrepancy(embeddings)[:, 0].tolist(), strict=True))
        assert found["white squares"] > found["white quadratic"] + 3

    def test_axes_along_which_nobody_stands_have_no_statistic(self):
        generator = torch.Generator().manual_seed(0)
        embeddings = torch.randn(300, 10, generator=generator) @ torch.randn(10, 40, generator=generator)
        discrepancy = ClassDiscrepancy(embeddings, labels(300, 2))
        found = [kernel.split()[-1] for kernel in discrepancy.kernels if kernel.startswith("white, axes 9-10 ")]
        assert found == ["linear", "quadratic", "squares"]
        assert not any("axes 11-" in kernel for kernel in discrepancy.kernels)
        assert discrepancy(embeddings).abs().max() < 20

    def test_users_who_outgrow_an_axis_no_longer_fit(self):
        generator = torch.Generator().manual_seed(0)
        embeddings = torch.randn(300, 10, generator=generator)
        embeddings[:, 9] *= 1e-3  # a unit that is silent for nearly everybody
        discrepancy = ClassDiscrepancy(embeddings, labels(300, 2))
        assert discrepancy.fits(embeddings)
        assert discrepancy.fits(3 * embeddings)
        embeddings[:, 9] *= 6
        assert not discrepancy.fits(embeddings)
        embeddings[0, 9] = 1e30
        assert not discrepancy.fits(embeddings)
        embeddings[0, 9] = torch.nan
        assert not discrepancy.fits(embeddings)

    def test_attackers_who_do_not_standardize_are_foreseen(self):
        embeddings, known = users(800, 24, dtype=torch.float32), labels(800, 2)
        embeddings = embeddings / embeddings.std(0)
        embeddings[:, :8] += 0.2 * known
        for k in (0, 1):
            embeddings[known[:, 0] == k, 8:] -= embeddings[known[:, 0] == k, 8:].mean(0)
        embeddings[:, 8:] *= 0.1
        discrepancy = ClassDiscrepancy(embeddings, known)
        found = dict(zip(discrepancy.kernels, discrepancy(embeddings)[:, 0].tolist(), strict=True))
        assert found["raw linear"] > found["standardized linear"] + 2

    def test_random_features_agree_with_all_pairs(self):
        embeddings, known = leaky()
        exact = ClassDiscrepancy(embeddings, known)(embeddings)
        rough = ClassDiscrepancy(embeddings, known, exact_users=0)(embeddings)
        # Linear, quadratic, squares and the three Gaussians they share, in the basis of standardized dimensions.
        torch.testing.assert_close(rough[:6], exact[:6], rtol=0.25, atol=0.5)

    def test_chunks_give_what_one_pass_gives(self, monkeypatch):
        embeddings, known = leaky(lift=0.3)
        whole = ClassDiscrepancy(embeddings, known, exact_users=0)
        monkeypatch.setattr("recbole_aia.losses.calibrated.discrepancy._CHUNK", 64)
        monkeypatch.setattr("recbole_aia.losses.calibrated.discrepancy._KEPT", 64)
        parts = [embeddings.clone().requires_grad_() for _ in range(2)]
        values = [whole(parts[0]), ClassDiscrepancy(embeddings, known, exact_users=0)(parts[1])]
        torch.testing.assert_close(*values)
        gradients = [torch.autograd.grad(v.square().sum(), p)[0] for v, p in zip(values, parts, strict=True)]
        torch.testing.assert_close(*gradients)

    @pytest.mark.parametrize("classes", [2, 4])
    @pytest.mark.parametrize("exact_users", [0, 2048])
    def test_the_gradient_is_that_of_the_value(self, exact_users, classes):
        embeddings, known = users(24, 2), labels(24, classes)
        discrepancy = ClassDiscrepancy(embeddings, known, exact_users=exact_users)
        assert torch.autograd.gradcheck(discrepancy, embeddings.requires_grad_(), eps=1e-6, atol=1e-4, fast_mode=True)

    @given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-5, 5))
    @settings(max_examples=15, deadline=None)
    def test_units_and_origin_of_embeddings_do_not_matter(self, seed, scale, shift):
        embeddings, known = users(120, 4, seed), labels(120, 3, seed=seed)
        here = ClassDiscrepancy(embeddings, known)(embeddings)
        moved = scale * (embeddings + shift)
        torch.testing.assert_close(ClassDiscrepancy(moved, known)(moved), here, rtol=1e-4, atol=1e-4)

    def test_a_dimension_that_is_the_same_for_all_says_nothing(self):
        embeddings, known = leaky()
        embeddings[:, 2] = 3.0
        leaf = embeddings.requires_grad_()
        scores = ClassDiscrepancy(embeddings, known)(leaf)
        (slope,) = torch.autograd.grad(scores.square().sum(), leaf)
        assert scores.isfinite().all()
        assert not slope[:, 2].any()


class TestClasses:
    def test_small_classes_are_judged_together(self):
        known = torch.zeros(200, 1, dtype=torch.long)
        known[:3], known[3:5], known[5:60] = 1, 2, 3
        assert ClassDiscrepancy(users(200, 4), known).classes == [(0, (0,)), (0, (3,)), (0, (1, 2))]

    def test_a_single_user_of_a_class_is_not_judged(self):
        known = torch.zeros(100, 1, dtype=torch.long)
        known[0], known[1:50] = 1, 2
        assert ClassDiscrepancy(users(100, 4), known).classes == [(0, (0,)), (0, (2,))]

    def test_who_has_no_label_takes_no_part(self):
        embeddings, known = leaky()
        known[:100] = -1
        leaf = embeddings.clone().requires_grad_()
        scores = ClassDiscrepancy(embeddings, known)(leaf)
        assert not torch.autograd.grad(scores.square().sum(), leaf)[0][:100].any()

    @pytest.mark.parametrize("exact_users", [0, 2048])
    def test_those_who_stay_are_part_of_the_rest(self, exact_users):
        embeddings, known = leaky()
        everybody = ClassDiscrepancy(embeddings, known, exact_users=exact_users)
        some = ClassDiscrepancy(
            embeddings[:300], known[:300], others=embeddings[300:], other_labels=known[300:], exact_users=exact_users
        )
        # The rest of a class: the movers outside it and all who stay.
        asked = known.clone()
        asked[300:] = 7
        joined = ClassDiscrepancy(embeddings, asked, exact_users=exact_users)(embeddings)
        torch.testing.assert_close(some(embeddings[:300]), joined[:, :2])
        assert everybody.classes == some.classes

    def test_who_did_not_ask_is_part_of_the_rest(self):
        embeddings, known = leaky()
        asked = known.clone()
        asked[:100] = -1
        some = ClassDiscrepancy(embeddings, asked, known=known)
        merged = asked.clone()
        merged[:100] = 7
        torch.testing.assert_close(some(embeddings), ClassDiscrepancy(embeddings, merged)(embeddings)[:, :2])

    def test_an_attribute_of_one_class_is_refused(self):
        with pytest.raises(ValueError, match="two users outside"):
            ClassDiscrepancy(users(50, 3), torch.zeros(50, 1, dtype=torch.long))

    def test_shapes_that_disagree_are_refused(self):
        with pytest.raises(ValueError, match="disagree"):
            ClassDiscrepancy(users(50, 3), labels(40, 2))
