import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from recbole_aia.evaluator.metrics import (
    accuracy,
    advantage,
    balanced_accuracy,
    confusion_counts,
    f1_binary,
    f1_macro,
    one_vs_rest_auc,
)


def answers(seed, n=80, n_classes=4):
    rng = np.random.default_rng(seed)
    true = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    # One decimal makes ties.
    return true, rng.random((n, n_classes)).round(1)


@pytest.mark.parametrize("seed", range(5))
class TestAgainstScikitLearn:
    def test_auc_with_ties(self, seed):
        true, scores = answers(seed)
        expected = [roc_auc_score(true == k, scores[:, k]) for k in range(4)]
        np.testing.assert_allclose(one_vs_rest_auc(true, scores), expected, atol=1e-12)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (accuracy, accuracy_score),
            (balanced_accuracy, balanced_accuracy_score),
            (f1_macro, lambda t, p: f1_score(t, p, average="macro")),
            (accuracy, lambda t, p: f1_score(t, p, average="micro")),
        ],
    )
    def test_count_metrics(self, seed, ours, theirs):
        true, scores = answers(seed)
        predicted = scores.argmax(axis=1)
        assert ours(confusion_counts(true, predicted, 4)) == pytest.approx(theirs(true, predicted))


def test_a_class_never_predicted_costs_f1_but_a_class_without_members_does_not_cost_recall():
    counts = np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])
    assert balanced_accuracy(counts) == pytest.approx(0.75)
    assert f1_macro(counts) == pytest.approx(0.5)


def test_count_metrics_take_stacks_of_counts():
    stack = np.stack([confusion_counts(*(a % 4 for a in pair), 4) for pair in [(np.arange(9), np.arange(9))] * 2])
    for metric in (accuracy, balanced_accuracy, f1_macro):
        np.testing.assert_allclose(metric(stack), [1, 1])


def test_auc_of_a_class_without_members_is_undefined():
    auc = one_vs_rest_auc(np.array([0, 0, 1, 1]), np.arange(12.0).reshape(4, 3))
    assert np.isnan(auc).tolist() == [False, False, True]


def test_auc_below_chance_stays_below():
    true = np.array([0, 0, 1, 1])
    wrong = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], dtype=float)
    np.testing.assert_array_equal(one_vs_rest_auc(true, wrong), [0, 0])
    assert advantage(one_vs_rest_auc(true, wrong)) == 1


def test_one_classs_excess_does_not_cancel_anothers_deficit():
    assert advantage(np.array([0.7, 0.3])) == pytest.approx(0.4)
    assert advantage(np.array([0.5, 0.5, 0.5])) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(0, 2))
def test_advantage_is_the_same_for_inverted_scores_and_any_monotone_scale(seed, n_classes, decimals):
    rng = np.random.default_rng(seed)
    true = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=20)])
    scores = rng.random((len(true), n_classes)).round(decimals)
    auc = one_vs_rest_auc(true, scores)
    gain = advantage(auc)
    assert 0 <= gain <= 1
    np.testing.assert_allclose(one_vs_rest_auc(true, -scores), 1 - auc, atol=1e-12)
    assert advantage(one_vs_rest_auc(true, -scores)) == pytest.approx(gain)
    np.testing.assert_allclose(one_vs_rest_auc(true, np.exp(3 * scores)), auc, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_users_does_not_matter(seed):
    true, scores = answers(seed)
    order = np.random.default_rng(seed).permutation(len(true))
    np.testing.assert_allclose(one_vs_rest_auc(true[order], scores[order]), one_vs_rest_auc(true, scores))
    np.testing.assert_array_equal(
        confusion_counts(true[order], scores[order].argmax(1), 4), confusion_counts(true, scores.argmax(1), 4)
    )


@pytest.mark.parametrize("seed", range(5))
def test_f1_of_two_classes_is_scikit_learns_of_the_last_one(seed):
    true, scores = answers(seed, n_classes=2)
    predicted = scores.argmax(axis=1)
    assert f1_binary(confusion_counts(true, predicted, 2)) == pytest.approx(f1_score(true, predicted))
