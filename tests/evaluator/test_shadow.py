import numpy as np
import pytest

from benchmarks.shadow import calibrated, means, nothing
from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator.shadow import SOURCES, shadow_attack

N = 600


@pytest.fixture(scope="module")
def leak():
    """Users of two classes whose means lie apart."""
    rng, classes = np.random.default_rng(0), np.arange(N) % 2
    return rng.normal(size=(N, 32)) + classes[:, None] * rng.normal(size=32) / 3, {"gender": classes}


def means_and_covariances(embeddings, labels):
    """Every class with exactly the mean and the covariance of all users."""
    moved, center = np.empty_like(embeddings), embeddings.mean(axis=0)
    root = np.linalg.cholesky(np.cov(embeddings.T))
    for k in np.unique(labels[:, 0]):
        inside = labels[:, 0] == k
        own = embeddings[inside] - embeddings[inside].mean(axis=0)
        moved[inside] = own @ np.linalg.inv(np.linalg.cholesky(np.cov(own.T))).T @ root.T + center
    return moved


def attacked(leak, protect, **settings):
    points, labels = leak
    released = protect(points, np.stack([*labels.values()], axis=1))
    return shadow_attack(points, released, labels, protect, attackers=["logistic"], **settings)


def by_source(report):
    return {row["learned_from"]: row for row in report.rows}


def test_what_a_defense_leaves_is_found_whatever_the_attacker_learns_from(leak):
    rows = by_source(attacked(leak, nothing))
    assert set(rows) == set(SOURCES)
    assert rows["shadow"]["auc"] == rows["release"]["auc"] > 0.8
    assert rows["shadow"]["inverted"] == 0


@pytest.mark.parametrize("protect", [means, means_and_covariances])
def test_classes_that_are_matched_too_closely_are_read_backwards(leak, protect):
    report = attacked(leak, protect)
    row = by_source(report)["release"]
    assert row["inverted"] == 1
    assert row["auc"] > 0.6
    worst = report.worst_case["gender"]
    assert (worst["learned_from"], worst["attacker"]) == ("release", "logistic")
    assert worst["advantage"] > worst["floor"] >= row["floor"]


def test_a_defense_that_stops_at_chance_gives_nothing_to_those_who_learn_from_what_is_released(leak):
    rows = by_source(attacked(leak, calibrated, repeats=1))
    assert rows["release"]["advantage"] < rows["release"]["floor"]
    # What chance leaves lies in the direction of the leak, which those see who have undefended vectors of the space.
    before = by_source(attacked(leak, nothing, repeats=1))
    assert rows["shadow"]["advantage"] < before["shadow"]["advantage"] / 3


def test_the_same_seed_gives_the_same_report_and_users_without_a_label_are_no_part_of_it(leak):
    points, labels = leak
    some = {"gender": np.where(np.arange(N) < 100, -1, labels["gender"])}
    first, second = (attacked((points, some), nothing, repeats=1, seed=3) for _ in range(2))
    assert first == second
    assert {row["n_users"] for row in first.rows} == {N - 100}
    other = points.copy()
    other[:100] = 1e6
    assert attacked((other, some), nothing, repeats=1, seed=3) == first


def test_every_attribute_is_defended_at_once_and_attacked_on_its_own(leak):
    points, labels = leak
    both, shapes = {**labels, "age": np.arange(N) // 2 % 3}, set()

    def seen(embeddings, given):
        shapes.add((len(embeddings) == len(given), given.shape[1]))
        return embeddings

    report = attacked((points, both), seen, repeats=1)
    assert shapes == {(True, 2)}
    assert list(report.worst_case) == ["gender", "age"]
    assert len(report.rows[-1]["auc_per_class"]) == 3
    assert report.worst_case["age"]["advantage"] < report.worst_case["age"]["floor"]


def test_classes_too_small_to_be_halved_twice_are_refused(leak):
    with pytest.raises(AttributeDataError, match="at least 4 users"):
        attacked((leak[0], {"gender": (np.arange(N) < 3).astype(int)}), nothing)
