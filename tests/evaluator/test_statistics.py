import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.linear_model import Ridge

from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc
from recbole_aia.evaluator.statistics import (
    corrected_difference,
    corrected_interval,
    floor95,
    holm,
    majority_floor,
    permuted_advantages,
)


def permuted_advantage95(*arguments):
    return floor95([permuted_advantages(*arguments)])


class TestCorrectedInterval:
    def test_by_hand(self):
        # s^2 = 0.01/3, variance = (1/4 + 1/4) s^2, t(0.975, 3) = 3.182446
        mean, low, high = corrected_interval(np.array([0.5, 0.6, 0.6, 0.5]), 0.25)
        half = 3.182446 * np.sqrt(0.5 * 0.01 / 3)
        assert (mean, low, high) == pytest.approx((0.55, 0.55 - half, 0.55 + half), abs=1e-6)

    def test_repeats_cannot_shrink_it_to_nothing(self):
        values = np.array([0.4, 0.6] * 5000)
        _, low, high = corrected_interval(values, 0.25)
        assert high - low > 2 * 1.9 * np.sqrt(0.25 * 0.01)

    def test_it_is_clipped_and_may_be_centred(self):
        mean, low, high = corrected_interval(np.array([0.0, 1.0, 0.9]), 0.25, center=0.7)
        assert (mean, low, high) == (0.7, 0.0, 1.0)


class TestCorrectedDifference:
    def test_without_overlap_it_is_the_paired_t_test(self):
        rng = np.random.default_rng(0)
        before, after = rng.uniform(size=(2, 10))
        found = corrected_difference(before, after, 0.0)
        plain = ttest_rel(after, before)
        low, high = plain.confidence_interval()
        assert found == pytest.approx((np.mean(after - before), low, high, plain.pvalue))

    def test_overlapping_folds_make_it_less_sure(self):
        after = np.array([0.1, 0.0, 0.1, 0.05, 0.0, 0.1])
        p_values = [corrected_difference(np.zeros(6), after, ratio).p_value for ratio in (0.0, 0.25, 1.0)]
        assert p_values == sorted(p_values)
        assert p_values[0] < 0.05 < p_values[2]

    def test_the_interval_excludes_zero_where_the_p_value_is_small(self):
        rng = np.random.default_rng(2)
        for shift in (0.0, 0.02, 0.05, 0.1):
            before, after = rng.normal(0.5, 0.05, size=(2, 10))
            found = corrected_difference(before + shift, after, 0.25)
            assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)

    def test_folds_that_agree_exactly(self):
        same = np.full(5, 0.5)
        assert corrected_difference(same, same, 0.25) == (0, 0, 0, 1)
        assert corrected_difference(same, same - 0.25, 0.25) == (-0.25, -0.25, -0.25, 0)

    def test_chance_is_rarely_called_a_difference(self):
        """Differences that share half of their noise, as overlapping training sets do; at most 5 % are significant."""
        rng = np.random.default_rng(3)
        shared = rng.normal(size=(2000, 1)) * 0.2**0.5
        noise = shared + rng.normal(size=(2000, 10)) * 0.8**0.5
        p_values = [corrected_difference(np.zeros(10), 0.01 * row, 0.25).p_value for row in noise]
        assert np.mean(np.array(p_values) < 0.05) < 0.06


def test_a_floor_leaves_out_draws_that_are_not_defined():
    draws = np.linspace(0, 0.1, 101)
    assert floor95([np.append(draws, np.nan)]) == pytest.approx(0.095)
    assert floor95([np.full(20, np.nan)]) == 1.0


class TestHolm:
    def test_by_hand(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_one_test_needs_no_correction(self):
        assert holm([0.03]) == [0.03]

    def test_it_ends_at_one(self):
        assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_majority_floor_is_the_largest_share():
    assert majority_floor(np.array([0, 1, 1, 2])) == 0.5


def random_case(seed, n=120, n_classes=3, repeats=2, folds=5):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % n_classes)
    fold_of = np.stack([rng.permutation(np.arange(n) % folds) for _ in range(repeats)])
    return codes, rng.random((repeats, n, n_classes)).round(1), fold_of


class TestPermutedFloor:
    def test_it_equals_the_plain_loop(self):
        codes, scores, fold_of = random_case(0)
        rng = np.random.default_rng(9)
        null = []
        for row in rng.permuted(np.broadcast_to(codes, (40, len(codes))), axis=1):
            auc = [
                one_vs_rest_auc(row[held], repeat[held])
                for repeat, folds in zip(scores, fold_of, strict=True)
                for held in (folds == f for f in range(5))
            ]
            null.append(2**0.5 * advantage(np.nanmean(auc, axis=0)))
        expected = np.quantile(null, 0.95, method="higher")
        assert permuted_advantage95(codes, scores, fold_of, 40, 9) == pytest.approx(expected)

    def test_it_falls_as_users_are_added(self):
        small, large = (permuted_advantage95(*random_case(1, n=n), 100, 0) for n in (60, 960))
        assert 2.5 < small / large < 6.5

    def test_it_does_not_depend_on_the_scale_or_sign_of_the_scores(self):
        codes, scores, fold_of = random_case(2)
        floor = permuted_advantage95(codes, scores, fold_of, 50, 3)
        assert permuted_advantage95(codes, np.exp(scores), fold_of, 50, 3) == pytest.approx(floor)
        assert permuted_advantage95(codes, -scores, fold_of, 50, 3) == pytest.approx(floor)

    def test_a_class_of_five_is_defined_and_within_range(self):
        codes, scores, fold_of = random_case(3)
        codes = np.where(np.arange(120) < 5, 2, codes % 2)
        assert 0 < permuted_advantage95(codes, scores, fold_of, 50, 3) <= 1

    def test_ridge_refitted_on_permuted_labels_has_the_width_that_the_floor_claims(self):
        rng = np.random.default_rng(4)
        embeddings, fold_of = rng.normal(size=(300, 20)), rng.permutation(np.arange(300) % 5)

        def held_out(codes):
            scores = np.empty((1, 300, 2))
            for fold in range(5):
                held = fold_of == fold
                model = Ridge(100.0).fit(embeddings[~held], codes[~held])
                scores[0, held, 1] = model.predict(embeddings[held])
            scores[..., 0] = -scores[..., 1]
            return scores

        floors, gains = [], []
        for _ in range(200):
            codes = rng.permutation(np.arange(300) % 2)
            scores = held_out(codes)
            folds = [fold_of == fold for fold in range(5)]
            auc = np.mean([one_vs_rest_auc(codes[f], scores[0, f]) for f in folds], axis=0)
            gains.append(advantage(auc))
            floors.append(permuted_advantage95(codes, scores, fold_of[None], 60, 0))
        refitted = np.quantile(gains, 0.95)
        assert np.mean(floors) == pytest.approx(refitted, rel=0.25)
        # Without the widening, chance would exceed the floor far more often than it claims.
        assert np.mean(np.array(gains) > np.array(floors)) < 0.09
        assert np.mean(np.array(gains) > np.array(floors) / 2**0.5) > 0.10


@pytest.mark.parametrize("repeats", [1, 2])
def test_honest_chance_rarely_exceeds_the_floor(repeats):
    """Forty data sets without any signal; 15 % leaves room for the binomial error of forty."""
    exceeded = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        evaluator = AttributeInferenceEvaluator(
            attackers=["logistic"],
            attack_repeats=repeats,
            attack_permutations=100,
            attack_jobs=1,
            seed=seed,
            show_progress=False,
        )
        labels = rng.permutation(np.repeat([0, 1], [87, 213]))
        row = evaluator.evaluate(rng.normal(size=(300, 16)), labels).rows[0]
        exceeded += row["metrics"]["advantage"]["mean"] > row["floor"]["permuted_advantage95"]
    assert exceeded <= 6
