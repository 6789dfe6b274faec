import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier

from recbole_aia.evaluator.attackers.perceptron import Perceptron
from recbole_aia.evaluator.attackers.together import trained_together


def planted(n, n_classes, d=8, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(n) % n_classes)
    points = rng.normal(size=(n, d))
    points[np.arange(n), classes] += 1.0
    return points.astype(np.float32), classes


def both(**options):
    return MLPClassifier(**options), Perceptron(**options)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestAgainstScikitLearn:
    """An equal seed gives equal initial weights and batches; what is left is rounding."""

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("layers", [(), (20,), (16, 8)])
    @pytest.mark.parametrize("n", [150, 430])
    def test_the_loss_falls_along_the_same_curve(self, n_classes, layers, n):
        points, classes = planted(n, n_classes)
        theirs, ours = both(hidden_layer_sizes=layers, alpha=0.5, learning_rate_init=3e-3, max_iter=25, random_state=4)
        theirs.fit(points.astype(np.float64), classes)
        ours.fit(points, classes)
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=2e-4)
        unseen = planted(100, n_classes, seed=1)[0]
        np.testing.assert_allclose(ours.predict_proba(unseen), theirs.predict_proba(unseen), atol=2e-3)

    def test_it_stops_when_the_loss_no_longer_falls(self):
        points, classes = planted(300, 2)
        theirs, ours = both(hidden_layer_sizes=(10,), alpha=5.0, learning_rate_init=1e-2, max_iter=500, random_state=1)
        theirs.fit(points.astype(np.float64), classes)
        ours.fit(points, classes)
        assert ours.n_iter_ < 500
        assert ours.n_iter_ == pytest.approx(theirs.n_iter_, abs=2)

    def test_its_defaults_are_scikit_learns(self):
        theirs = MLPClassifier().get_params()
        ours = {
            key: value
            for key, value in Perceptron().get_params().items()
            if key not in ("device", "random_state", "even_penalty")
        }
        assert ours == {key: theirs[key] for key in ours}


def test_a_weight_of_two_is_a_user_twice():
    """In a single batch, whose order does not matter."""
    points, classes = planted(80, 2)
    options = {"hidden_layer_sizes": (6,), "alpha": 0.0, "max_iter": 15, "random_state": 2}
    weights = np.where(np.arange(80) < 30, 2.0, 1.0)
    rows = np.concatenate([np.arange(80), np.arange(30)])
    weighted = Perceptron(**options).fit(points, classes, weights)
    repeated = Perceptron(**options).fit(points[rows], classes[rows])
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-4)


class TestTrainingTogether:
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_company_changes_a_network_by_rounding_only(self, n_classes):
        """Also networks that leave early, other penalties, fewer users and weights."""
        points, classes = planted(430, n_classes)

        def fits():
            for seed, (alpha, n) in enumerate([(1.0, 430), (5.0, 429), (0.1, 402), (1.0, 430)]):
                network = Perceptron((12,), alpha=alpha, learning_rate_init=5e-3, max_iter=80, random_state=seed)
                yield network.fit(points[:n], classes[:n], np.linspace(0.5, 2, n) if seed == 3 else None)

        alone = list(fits())
        with trained_together():
            together = list(fits())
        assert len({network.n_iter_ for network in alone}) > 1
        for one, other in zip(alone, together, strict=True):
            assert one.n_iter_ == pytest.approx(other.n_iter_, abs=1)
            np.testing.assert_allclose(one.predict_proba(points), other.predict_proba(points), atol=2e-3)

    def test_networks_of_other_shapes_or_sizes_may_be_among_them(self):
        with trained_together():
            few, many = Perceptron((5,), max_iter=3), Perceptron((5,), max_iter=3)
            linear, three = Perceptron((), max_iter=3), Perceptron((5,), max_iter=3)
            few.fit(*planted(60, 2))
            many.fit(*planted(450, 2))
            linear.fit(*planted(60, 2))
            three.fit(*planted(60, 3))
        widths = [network.predict_proba(planted(9, 2)[0]).shape for network in (few, many, linear, three)]
        assert widths == [(9, 2), (9, 2), (9, 2), (9, 3)]
        assert {network.n_iter_ for network in (few, many, linear, three)} == {3}

    def test_a_mistake_inside_leaves_nothing_waiting(self):
        with pytest.raises(AttributeError, match="max"), trained_together():
            Perceptron().fit(np.zeros((20, 2)), [0, 1] * 10)
        assert Perceptron(max_iter=2).fit(*planted(20, 2)).n_iter_ == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_cpus_network():
    points, classes = planted(430, 3)
    options = {"hidden_layer_sizes": (20,), "alpha": 0.5, "max_iter": 20, "random_state": 3}
    cpu, gpu = (Perceptron(**options, device=device).fit(points, classes) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.predict_proba(points), cpu.predict_proba(points), atol=1e-2)


def test_a_last_batch_of_a_few_users_does_not_undo_a_network_whose_penalty_is_even():
    """603 users make three batches of 200 and one of three, where a penalty of 8 is 67 times as strong."""
    points, classes = planted(603, 2)
    unseen = planted(300, 2, seed=1)[0]
    options = {"hidden_layer_sizes": (64,), "alpha": 8.0, "learning_rate_init": 1e-2, "max_iter": 60}
    crushed, even = (Perceptron(**options, even_penalty=flag).fit(points, classes) for flag in (False, True))
    assert np.ptp(crushed.predict_proba(unseen)[:, 0]) < 0.1
    assert np.ptp(even.predict_proba(unseen)[:, 0]) > 0.5


def test_an_even_penalty_is_scikit_learns_where_batches_are_whole():
    points, classes = planted(400, 3)
    plain, even = (Perceptron((16,), alpha=2.0, max_iter=20, even_penalty=flag) for flag in (False, True))
    np.testing.assert_allclose(even.fit(points, classes).loss_curve_, plain.fit(points, classes).loss_curve_, rtol=1e-5)
