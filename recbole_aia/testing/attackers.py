"""What every attacker promises."""

from __future__ import annotations

import functools
import random
import warnings
from typing import Any, ClassVar

import numpy as np
import pytest

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator import Attacker, Job, registered_attackers
from recbole_aia.testing.base import Contract, required


def planted(n: int, n_classes: int, seed: int = 0, d: int = 6, shift: float = 2.0) -> tuple[FloatArray, IntArray]:
    """Normal embeddings ``[n, d]`` and classes ``[n]``: each class is shifted along a dimension of its own."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % n_classes
    embeddings = rng.normal(size=(n, d))
    embeddings[np.arange(n), classes] += shift
    return embeddings, classes


@functools.cache
def answers(attacker: type[Attacker]) -> FloatArray:
    """What a fresh attacker with the seed 5 says of the users that it has learned from."""
    embeddings, classes = planted(60, 2)
    return attacker().fit(embeddings, classes, 5).predict_proba(embeddings)


class AttackerContract(Contract):
    """What every attacker promises; give yours as ``attacker``."""

    #: The registered class.
    attacker: ClassVar[type[Attacker] | None] = None

    @pytest.fixture
    def subject(self) -> Any:
        """The class that is tested."""
        return required(self.attacker, type(self), "attacker = MyAttacker")

    def test_it_is_registered_under_its_own_name(self, subject: Any) -> None:
        assert registered_attackers()[subject.name] is subject

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_probabilities_are_a_distribution_over_the_classes(self, subject: Any, n_classes: int) -> None:
        embeddings, classes = planted(90, n_classes)
        probabilities = subject().fit(embeddings, classes, 1).predict_proba(embeddings[:7])
        assert probabilities.shape == (7, n_classes)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_planted_classes_are_found_in_unseen_users(self, subject: Any, n_classes: int) -> None:
        attacker = subject().fit(*planted(240, n_classes, seed=0), 1)
        embeddings, classes = planted(240, n_classes, seed=1)
        assert (attacker.predict(embeddings) == classes).mean() > 1 / n_classes + 0.25

    def test_it_predicts_the_most_probable_class(self, subject: Any) -> None:
        embeddings, classes = planted(60, 3, shift=0.5)
        attacker = subject().fit(embeddings, classes, 1)
        np.testing.assert_array_equal(attacker.predict(embeddings), attacker.predict_proba(embeddings).argmax(axis=1))

    def test_an_equal_seed_gives_equal_predictions(self, subject: Any) -> None:
        embeddings, classes = planted(60, 2)
        again = subject().fit(embeddings, classes, 5).predict_proba(embeddings)
        np.testing.assert_array_equal(again, answers(subject))

    def test_a_second_fit_forgets_the_first(self, subject: Any) -> None:
        embeddings, classes = planted(60, 2)
        used = subject().fit(embeddings, 1 - classes, 3).fit(embeddings, classes, 5)
        np.testing.assert_array_equal(used.predict_proba(embeddings), answers(subject))

    def test_fitting_several_at_once_gives_what_fitting_each_gives(self, subject: Any) -> None:
        jobs = [Job(*planted(n, 3, seed=n), n) for n in (60, 61)]
        for attacker, job in zip(subject.fit_many(jobs), jobs, strict=True):
            alone = subject().fit(*job).predict_proba(job.embeddings)
            np.testing.assert_allclose(attacker.predict_proba(job.embeddings), alone, atol=5e-3)

    def test_global_random_state_is_neither_read_nor_written(self, subject: Any) -> None:
        embeddings, classes = planted(60, 2)
        found = []
        for seed in (0, 1):
            np.random.seed(seed)
            random.seed(seed)
            before = _numpy_state(), random.getstate()
            found.append(subject().fit(embeddings, classes, 5).predict_proba(embeddings))
            np.testing.assert_array_equal(_numpy_state(), before[0])
            assert random.getstate() == before[1]
        np.testing.assert_array_equal(*found)

    def test_it_warns_of_nothing_and_leaves_the_filters_alone(self, subject: Any) -> None:
        embeddings, classes = planted(60, 2, shift=0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = list(warnings.filters)
            subject().fit(embeddings, classes, 5).predict(embeddings)
            assert warnings.filters == before
        assert not caught

    def test_its_input_is_left_as_it_was(self, subject: Any) -> None:
        embeddings, classes = planted(60, 2)
        copies = embeddings.copy(), classes.copy()
        subject().fit(embeddings, classes, 5).predict(embeddings)
        np.testing.assert_array_equal(embeddings, copies[0])
        np.testing.assert_array_equal(classes, copies[1])

    def test_collapsed_embeddings_tell_it_nothing(self, subject: Any) -> None:
        embeddings, classes = np.ones((40, 4)), np.arange(40) % 2
        probabilities = subject().fit(embeddings, classes, 5).predict_proba(embeddings)
        assert np.ptp(probabilities, axis=0).max() == 0


def _numpy_state() -> IntArray:
    state: Any = np.random.get_state()
    return np.array(state[1])
