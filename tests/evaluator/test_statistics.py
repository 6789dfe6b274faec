import numpy as np
import pytest
from sklearn.linear_model import Ridge

from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc
from recbole_aia.evaluator.statistics import corrected_interval, floor95, majority_floor, permuted_advantages


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
