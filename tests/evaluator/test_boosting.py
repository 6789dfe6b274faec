import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier

from recbole_aia.evaluator.attackers.boosting import BoostedStumps, BudgetedXgboost, HistogramBoosting
from recbole_aia.evaluator.metrics import one_vs_rest_auc


def planted(n, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.choice(n_classes, n, p=np.array([0.7, 0.3] if n_classes == 2 else [0.6, 0.25, 0.15]))
    return rng.normal(size=(n, 8)) + 0.8 * np.eye(8)[classes], classes


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_stumps_are_scikit_learns(n_classes, weighted):
    (points, classes), (unseen, _) = planted(400, n_classes), planted(200, n_classes, seed=1)
    weights = np.random.default_rng(2).uniform(0.5, 2, 400) if weighted else None
    theirs = AdaBoostClassifier(n_estimators=30, random_state=0)
    if "algorithm" in theirs.get_params() and theirs.algorithm == "SAMME.R":  # scikit-learn below 1.6
        theirs.set_params(algorithm="SAMME")
    theirs.fit(points, classes, weights)
    ours = BoostedStumps(30).fit(points, classes, weights)
    np.testing.assert_allclose(ours.predict_proba(unseen), theirs.predict_proba(unseen), atol=1e-9)


def test_a_dimension_that_tells_all_ends_the_boosting():
    classes = np.arange(40) % 2
    stumps = BoostedStumps(30).fit(np.stack([np.zeros(40), classes.astype(float)], axis=1), classes)
    np.testing.assert_array_equal(stumps.predict_proba(np.array([[0.0, 0.0], [0.0, 1.0]])).argmax(axis=1), [0, 1])
    assert len(stumps._stumps) == 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_histograms_rank_users_as_well_as_exact_splits(n_classes):
    (points, classes), (unseen, true) = planted(1500, n_classes), planted(3000, n_classes, seed=1)
    theirs = GradientBoostingClassifier(random_state=0).fit(points, classes).predict_proba(unseen)
    ours = HistogramBoosting().fit(points, classes).predict_proba(unseen)
    difference = one_vs_rest_auc(true, ours).mean() - one_vs_rest_auc(true, theirs).mean()
    assert difference == pytest.approx(0, abs=0.012)
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.02)
    assert np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)) > 0.9


@pytest.mark.parametrize(("n_classes", "rounds"), [(2, 100), (4, 100), (8, 50), (60, 10)])
def test_many_classes_share_a_budget_of_trees(n_classes, rounds):
    points, classes = np.random.default_rng(0).normal(size=(120, 2)), np.arange(120) % n_classes
    model = BudgetedXgboost(max_depth=1).fit(points, classes)
    assert model.n_estimators_ == model._model.get_booster().num_boosted_rounds() == rounds
