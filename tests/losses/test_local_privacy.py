"""One private bit about one coordinate: its guarantee, and that it is unbiased."""

import itertools
import math

import numpy as np
import pytest

from recbole_aia.losses import positive_probability, random_responses, report_size

EPSILONS = [0.1, 0.8, 3.0, 8.0]


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_no_answer_is_more_than_e_to_the_epsilon_times_likelier_under_other_data(epsilon):
    """Over all pairs of values, those outside the clipped range too; the worst pair uses up the budget."""
    values = np.linspace(-5, 5, 401)
    worst = 0.0
    for answer in (positive_probability(values, epsilon), 1 - positive_probability(values, epsilon)):
        worst = max(worst, float(np.log(answer.max() / answer.min())))
    assert worst <= epsilon + 1e-9
    assert worst == pytest.approx(epsilon)


class Chosen:
    """A generator whose numbers the test chooses."""

    def __init__(self, coordinate, uniform):
        self.coordinate, self.uniform = coordinate, uniform

    def integers(self, width, size):
        assert self.coordinate < width
        return np.full(size, self.coordinate)

    def random(self, size):
        return np.full(size, self.uniform)


def probabilities(vector, epsilon):
    """The probability of every report that :func:`random_responses` can make of a vector, ``[D, 2]``: minus, plus.

    A coordinate has probability 1 / D. Of one coordinate the answer is plus for uniform numbers below a point, which
    halving finds to the last bit.
    """
    found = np.empty((len(vector), 2))
    for coordinate in range(len(vector)):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            report = random_responses(vector[None], epsilon, Chosen(coordinate, middle))
            assert report.coordinates.tolist() == [coordinate]
            low, high = (middle, high) if report.values[0] > 0 else (low, middle)
        found[coordinate] = np.array([1 - low, low]) / len(vector)
    return found


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_over_all_reports_the_privacy_loss_is_epsilon_and_the_mean_is_the_vector(epsilon):
    corners = [np.array(corner, dtype=float) for corner in itertools.product((-1, 1), repeat=3)]
    vectors = [*corners, np.array([0.2, -0.7, 0.0]), np.array([9.0, -0.1, -3.0])]
    every = [probabilities(vector, epsilon) for vector in vectors]
    losses = [np.abs(np.log(one / other)).max() for one, other in itertools.combinations(every, 2)]
    assert max(losses) == pytest.approx(epsilon)
    for vector, found in zip(vectors, every, strict=True):
        assert found.sum() == pytest.approx(1)
        size = report_size(3, epsilon)
        np.testing.assert_allclose(found @ [-size, size], np.clip(vector, -1, 1), atol=1e-9)


def test_the_coordinate_is_drawn_without_looking_at_the_data():
    one, other = np.zeros((1000, 7)), np.random.default_rng(0).normal(size=(1000, 7))
    drawn = [random_responses(vectors, 1.0, np.random.default_rng(5)).coordinates for vectors in (one, other)]
    assert np.array_equal(*drawn)
    assert (np.bincount(drawn[0], minlength=7) > 90).all()


@pytest.mark.parametrize("epsilon", EPSILONS[1:])
def test_the_mean_of_reports_is_the_vector(epsilon):
    vector, n = np.array([-1.0, -0.3, 0.0, 0.4, 1.0]), 400_000
    reports = random_responses(np.tile(vector, (n, 1)), epsilon, np.random.default_rng(1))
    mean = np.bincount(reports.coordinates, reports.values, minlength=5) / n
    error = report_size(5, epsilon) / math.sqrt(5 * n)
    assert (np.abs(mean - vector) < 5 * error).all()


def test_the_expected_report_is_exactly_the_value():
    for epsilon in EPSILONS:
        for value in (-1.0, -0.2, 0.7):
            positive = positive_probability(np.array([value]), epsilon)[0]
            # A coordinate of D is drawn with probability 1 / D, and is then sent as plus or minus B.
            expected = (2 * positive - 1) * report_size(9, epsilon) / 9
            assert expected == pytest.approx(value)


def test_entries_beyond_one_are_clipped():
    assert positive_probability(np.array([4.0]), 1.0) == positive_probability(np.array([1.0]), 1.0)
