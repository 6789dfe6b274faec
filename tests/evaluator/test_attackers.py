"""What every attacker promises; an attacker is tested by being registered."""

import random
import warnings

import numpy as np
import pytest

from recbole_aia.evaluator import attackers as attackers_module
from recbole_aia.evaluator import registered_attackers


def planted(n, n_classes, seed=0, d=6, shift=2.0):
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % n_classes
    embeddings = rng.normal(size=(n, d))
    embeddings[np.arange(n), classes] += shift
    return embeddings, classes


@pytest.mark.parametrize("name", registered_attackers())
class TestAttackerContract:
    def make(self, name):
        return registered_attackers()[name]()

    def test_it_is_registered_under_its_own_name(self, name):
        assert self.make(name).name == name

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_probabilities_are_a_distribution_over_the_classes(self, name, n_classes):
        embeddings, classes = planted(90, n_classes)
        probabilities = self.make(name).fit(embeddings, classes, 1).predict_proba(embeddings[:7])
        assert probabilities.shape == (7, n_classes)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_planted_classes_are_found_in_unseen_users(self, name, n_classes):
        attacker = self.make(name).fit(*planted(240, n_classes, seed=0), 1)
        embeddings, classes = planted(240, n_classes, seed=1)
        assert (attacker.predict(embeddings) == classes).mean() > 1 / n_classes + 0.25

    def test_it_predicts_the_most_probable_class(self, name):
        embeddings, classes = planted(60, 3, shift=0.5)
        attacker = self.make(name).fit(embeddings, classes, 1)
        np.testing.assert_array_equal(attacker.predict(embeddings), attacker.predict_proba(embeddings).argmax(axis=1))

    def test_an_equal_seed_gives_equal_predictions(self, name):
        embeddings, classes = planted(60, 2)
        first, second = (self.make(name).fit(embeddings, classes, 5) for _ in range(2))
        np.testing.assert_array_equal(first.predict_proba(embeddings), second.predict_proba(embeddings))

    def test_a_second_fit_forgets_the_first(self, name):
        embeddings, classes = planted(60, 2)
        used = self.make(name).fit(embeddings, 1 - classes, 3).fit(embeddings, classes, 5)
        fresh = self.make(name).fit(embeddings, classes, 5)
        np.testing.assert_array_equal(used.predict_proba(embeddings), fresh.predict_proba(embeddings))

    def test_global_random_state_is_neither_read_nor_written(self, name):
        embeddings, classes = planted(60, 2)
        answers = []
        for seed in (0, 1):
            np.random.seed(seed)
            random.seed(seed)
            before = np.random.get_state()[1].copy(), random.getstate()
            answers.append(self.make(name).fit(embeddings, classes, 5).predict_proba(embeddings))
            np.testing.assert_array_equal(np.random.get_state()[1], before[0])
            assert random.getstate() == before[1]
        np.testing.assert_array_equal(*answers)

    def test_it_warns_of_nothing_and_leaves_the_filters_alone(self, name):
        embeddings, classes = planted(60, 2, shift=0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = list(warnings.filters)
            self.make(name).fit(embeddings, classes, 5).predict(embeddings)
            assert warnings.filters == before
        assert not caught

    def test_its_input_is_left_as_it_was(self, name):
        embeddings, classes = planted(60, 2)
        copies = embeddings.copy(), classes.copy()
        self.make(name).fit(embeddings, classes, 5).predict(embeddings)
        np.testing.assert_array_equal(embeddings, copies[0])
        np.testing.assert_array_equal(classes, copies[1])

    def test_collapsed_embeddings_tell_it_nothing(self, name):
        embeddings, classes = np.ones((40, 4)), np.arange(40) % 2
        probabilities = self.make(name).fit(embeddings, classes, 5).predict_proba(embeddings)
        assert np.ptp(probabilities, axis=0).max() == 0


@pytest.mark.parametrize("name", ["logistic", "mlp"])
class TestBalancedAttackers:
    def test_rescaling_the_embeddings_cannot_blind_them(self, name):
        attacker = registered_attackers()[name]
        (embeddings, classes), (unseen, _) = planted(120, 2), planted(50, 2, seed=1)
        large = attacker().fit(embeddings, classes, 1).predict_proba(unseen)
        small = attacker().fit(embeddings * 1e-4, classes, 1).predict_proba(unseen * 1e-4)
        np.testing.assert_allclose(large, small, atol=1e-6)

    @pytest.mark.parametrize("takes_weights", [True, False])
    def test_the_small_class_is_predicted_as_often_as_it_is_likely(self, name, takes_weights, monkeypatch):
        if not takes_weights:
            monkeypatch.setattr(attackers_module, "has_fit_parameter", lambda *_: False)
        rng = np.random.default_rng(0)
        classes = (np.arange(400) % 10 == 0).astype(int)
        embeddings = rng.normal(size=(400, 4)) + classes[:, None] * 0.3
        predicted = registered_attackers()[name]().fit(embeddings, classes, 1).predict(embeddings)
        assert predicted.mean() > 0.3


def test_the_papers_attacker_has_the_papers_settings():
    model = registered_attackers()["mlp_raid"]().fit(*planted(40, 2), 7)._model[-1]
    default = type(model)().get_params()
    changed = {key: value for key, value in model.get_params().items() if value != default[key]}
    assert changed == {"alpha": 1.0, "max_iter": 500, "random_state": 7}
    assert (model.hidden_layer_sizes, model.learning_rate_init) == ((100,), 1e-3)
