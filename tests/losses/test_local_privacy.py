"""One private bit about one coordinate: its guarantee, and that it is unbiased."""

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
