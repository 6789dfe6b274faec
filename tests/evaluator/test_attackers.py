"""Our attackers: what all promise, and what is particular to some."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from recbole_aia.evaluator import registered_attackers
from recbole_aia.evaluator.attackers.base import EstimatorAttacker
from recbole_aia.evaluator.attackers.combined import invert
from recbole_aia.evaluator.metrics import one_vs_rest_auc
from recbole_aia.evaluator.presets import PRESETS
from recbole_aia.testing import AttackerContract, planted


class TestAttackers(AttackerContract):
    """Ours; an attacker joins by being registered."""

    @pytest.fixture(params=registered_attackers())
    def subject(self, request):
        return registered_attackers()[request.param]


@pytest.mark.parametrize("name", ["logistic", "mlp", "svm", "quadratic", "naive_bayes", "knn", "flip_aware"])
class TestScaledAttackers:
    def test_rescaling_the_embeddings_cannot_blind_them(self, name):
        attacker = registered_attackers()[name]
        (embeddings, classes), (unseen, _) = planted(120, 2), planted(50, 2, seed=1)
        large = attacker().fit(embeddings, classes, 1).predict_proba(unseen)
        small = attacker().fit(embeddings * 1e-4, classes, 1).predict_proba(unseen * 1e-4)
        np.testing.assert_allclose(large, small, atol=1e-6)


@pytest.mark.parametrize("name", ["logistic", "mlp"])
class TestBalancedAttackers:
    def test_the_small_class_is_predicted_as_often_as_it_is_likely(self, name):
        rng = np.random.default_rng(0)
        classes = (np.arange(400) % 10 == 0).astype(int)
        embeddings = rng.normal(size=(400, 4)) + classes[:, None] * 0.3
        predicted = registered_attackers()[name]().fit(embeddings, classes, 1).predict(embeddings)
        assert predicted.mean() > 0.3


PUBLISHED = {
    "mlp_raid": {"hidden_layer_sizes": (100,), "alpha": 1.0, "learning_rate_init": 1e-3, "max_iter": 500},
    "mlp_raid_1": {"hidden_layer_sizes": (), "alpha": 1.0, "learning_rate_init": 1e-3, "max_iter": 500},
    "mlp_raid_3": {"hidden_layer_sizes": (100, 64), "alpha": 1.0, "learning_rate_init": 1e-3, "max_iter": 500},
    "mlp_raid_4": {"hidden_layer_sizes": (100, 64, 32), "alpha": 1.0, "learning_rate_init": 1e-3, "max_iter": 500},
    "decision_tree_raid": {},
    "svm_raid": {},
    "naive_bayes_raid": {},
    "knn_raid": {},
    "random_forest_raid": {"n_estimators": 100, "max_depth": 20},
    "adaboost_raid": {"n_estimators": 50},
    "xgboost_raid": {},
    "gradient_boosting_raid": {"n_estimators": 100},
    "mlp_oktton": {"hidden_layer_sizes": (100,), "learning_rate_init": 0.01},
    "xgboost_oktton": {"n_estimators": 50, "max_depth": 4, "learning_rate": 0.5},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_attackers_have_the_papers_settings_and_no_others(name):
    model = registered_attackers()[name]().fit(*planted(40, 2), 7)._model
    assert len(model) == 1  # no scaling
    set_here, default = model[-1].get_params(deep=False), type(model[-1])().get_params(deep=False)
    changed = {key: value for key, value in set_here.items() if value != default[key] and value == value}
    for key in ("random_state", "n_jobs", "device", "missing"):
        changed.pop(key, None)
    expected = PUBLISHED[name]
    assert set(changed) <= set(expected)
    assert {key: set_here[key] for key in expected} == expected


def test_every_published_attacker_is_checked_against_its_paper():
    published = {name for preset in ("raid", "attrcloak", "oktton") for name in PRESETS[preset].attackers}
    assert published == set(PUBLISHED)


@pytest.mark.parametrize("name", ["mlp_oktton", "xgboost_oktton"])
def test_undersampling_learns_from_equally_many_of_every_class(name, monkeypatch):
    seen = []

    class Watched:
        def set_params(self):
            return self

        def fit(self, embeddings, classes):
            seen.append(np.bincount(classes).tolist())
            return self

    monkeypatch.setattr(registered_attackers()[name], "_estimator", lambda *_: Watched())
    embeddings, classes = planted(60, 3)
    registered_attackers()[name]().fit(embeddings[9:], np.sort(classes)[9:], 1)
    assert seen == [[11, 11, 11]]


def test_tuning_never_sees_a_user_that_is_to_be_attacked():
    """The same known users give the same choice, whatever the others are."""
    rng = np.random.default_rng(0)
    embeddings, classes = rng.normal(size=(120, 5)), np.arange(120) % 2
    embeddings[:, 0] += classes * embeddings[:, 1]
    attacker = registered_attackers()["svm"]().fit(embeddings, classes, 1)
    chosen = attacker._model[-1].C
    gains = {c: [] for c in (0.1, 1.0, 10.0)}
    for known, others in StratifiedKFold(3, shuffle=True, random_state=1).split(embeddings, classes):
        scaler = StandardScaler().fit(embeddings[known])
        for c, aucs in gains.items():
            machine = SVC(C=c, class_weight="balanced").fit(scaler.transform(embeddings[known]), classes[known])
            aucs.append(roc_auc_score(classes[others], machine.decision_function(scaler.transform(embeddings[others]))))
    assert chosen == max(gains, key=lambda c: abs(np.mean(gains[c]) - 0.5))


@pytest.mark.parametrize("name", [name for name in PRESETS["strict"].attackers])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_with_a_single_known_member_is_no_obstacle(name, n_classes):
    embeddings, classes = planted(61, n_classes)
    classes = np.where(np.arange(61) == 60, n_classes - 1, classes % (n_classes - 1))
    probabilities = registered_attackers()[name]().fit(embeddings, classes, 1).predict_proba(embeddings)
    assert probabilities.shape == (61, n_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


class TestInversion:
    @pytest.mark.parametrize("n_classes", [2, 3, 5])
    def test_inverting_every_class_reverses_every_row(self, n_classes):
        shares = np.random.default_rng(0).dirichlet(np.ones(n_classes), size=400)
        turned = invert(shares, np.ones(n_classes, dtype=bool))
        np.testing.assert_allclose(turned.sum(axis=1), 1)
        np.testing.assert_array_equal(turned.argsort(axis=1), shares.argsort(axis=1)[:, ::-1])

    def test_of_two_classes_the_probabilities_change_places(self):
        shares = np.random.default_rng(0).dirichlet(np.ones(2), size=50)
        np.testing.assert_allclose(invert(shares, np.array([True, True])), shares[:, ::-1])

    def test_one_class_of_three_may_be_inverted_alone(self):
        rng = np.random.default_rng(0)
        classes = rng.integers(0, 3, 3000)
        scores = rng.normal(size=(3000, 3))
        scores[np.arange(3000), classes] += np.array([1.0, -1.0, 1.0])[classes]
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        before = one_vs_rest_auc(classes, shares)
        after = one_vs_rest_auc(classes, invert(shares, before < 0.5))
        assert (before < 0.5).tolist() == [False, True, False]
        assert after[1] > 0.6
        assert after.mean() > before.mean() + 0.1

    def test_nothing_is_changed_where_nothing_is_inverted(self):
        shares = np.array([[0.2, 0.8]])
        np.testing.assert_array_equal(invert(shares, np.zeros(2, dtype=bool)), shares)


class Column(ClassifierMixin, BaseEstimator):
    """Answers by one dimension of the embeddings."""

    def __init__(self, dimension=0):
        self.dimension = dimension

    def fit(self, embeddings, classes):
        self.classes_ = np.unique(classes)
        return self

    def predict_proba(self, embeddings):
        return np.stack([1 - embeddings[:, self.dimension], embeddings[:, self.dimension]], axis=1)


@pytest.mark.parametrize(("dimensions", "taken"), [([0, 1, 2], 1), ([0, 2, 1], 2), ([2, 0, 1], 2), ([0], 0)])
def test_the_setting_that_gains_most_is_taken_and_the_earlier_of_equal_ones(dimensions, taken):
    class Tuned(EstimatorAttacker):
        name = "tuned"

        def _estimator(self, n_users, seed):
            return Column()

        def _grid(self, n_users):
            return [{"dimension": dimension} for dimension in dimensions]

    classes = np.arange(30) % 2
    embeddings = np.stack([np.linspace(0, 1, 30), classes, 1 - classes], axis=1)
    assert Tuned().fit(embeddings, classes, 0)._model[-1].dimension == taken
