"""Attackers that torch computes, for a GPU: here on whatever device the tests have, against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from recbole_aia.evaluator.attackers import blocks, registered_attackers
from recbole_aia.evaluator.attackers.base import Attacker, Job
from recbole_aia.evaluator.attackers.boosting import BoostedStumps, xgboost_device
from recbole_aia.evaluator.attackers.densities import GaussianClassifier, MarginSVC
from recbole_aia.evaluator.attackers.gaussians import DeviceGaussians, DeviceNaiveBayes
from recbole_aia.evaluator.attackers.machines import MachinesTask, solve_machines
from recbole_aia.evaluator.attackers.nearest import DeviceNeighbors
from recbole_aia.evaluator.attackers.regressions import DeviceLogistic
from recbole_aia.evaluator.attackers.together import trained_together
from recbole_aia.evaluator.fits import all_cells

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
#: Takes the way of a GPU: only a device called exactly "cpu" is left to scikit-learn.
LIKE_A_GPU = "cuda" if torch.cuda.is_available() else "cpu:0"


def planted(n=240, n_classes=3, d=6, shift=0.6, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.minimum(rng.integers(0, n_classes + 1, n), n_classes - 1)  # the last class is the largest
    points = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, (n_classes, d))[classes]
    return StandardScaler().fit_transform(points + shift * rng.normal(size=(n_classes, d))[classes]), classes


def held_out(model, points, classes, **weights):
    fitted = model.fit(points[:160], classes[:160], **weights)
    return fitted.predict_proba(points[160:])


@pytest.mark.parametrize("n_classes", [2, 3])
class TestAgainstScikitLearn:
    @pytest.mark.parametrize("C", [0.001, 0.1, 10.0])
    def test_logistic_regression(self, n_classes, C):
        points, classes = planted(n_classes=n_classes)
        weights = {"sample_weight": np.linspace(0.5, 2, 160)}
        reference = LogisticRegression(C=C, max_iter=1000, tol=1e-8)
        expected = held_out(reference, points, classes, **weights)
        np.testing.assert_allclose(held_out(DeviceLogistic(C, DEVICE), points, classes, **weights), expected, atol=1e-4)

    def test_logistic_regression_of_classes_that_a_plane_divides(self, n_classes):
        points, classes = planted(n_classes=n_classes, shift=8.0)
        expected = held_out(LogisticRegression(C=10.0, max_iter=1000, tol=1e-8), points, classes)
        np.testing.assert_allclose(held_out(DeviceLogistic(10.0, DEVICE), points, classes), expected, atol=1e-3)

    @pytest.mark.parametrize("C", [1.0, 10.0])
    def test_machines(self, n_classes, C):
        points, classes = planted(n_classes=n_classes)
        expected = SVC(C=C).fit(points[:160], classes[:160]).decision_function(points[160:])
        (machines,) = solve_machines([MachinesTask(points[:160], classes[:160], np.full(n_classes, C), DEVICE)])
        np.testing.assert_allclose(machines.margins(points[160:]), expected, atol=5e-3)

    def test_machines_of_classes_that_count_equally(self, n_classes):
        points, classes = planted(n_classes=n_classes)
        expected = held_out(MarginSVC(class_weight="balanced"), points, classes)
        ours = held_out(MarginSVC(class_weight="balanced", device=LIKE_A_GPU), points, classes)
        np.testing.assert_allclose(ours, expected, atol=2e-3)

    def test_neighbors(self, n_classes):
        points, classes = planted(n_classes=n_classes)
        expected = held_out(KNeighborsClassifier(7), points, classes)
        np.testing.assert_allclose(held_out(DeviceNeighbors(7, DEVICE), points, classes), expected)

    def test_densities(self, n_classes):
        points, classes = planted(n_classes=n_classes)
        for shrinkage in (0.1, 0.9):
            expected = held_out(GaussianClassifier(shrinkage), points, classes)
            np.testing.assert_allclose(held_out(DeviceGaussians(shrinkage, DEVICE), points, classes), expected)

    def test_naive_bayes(self, n_classes):
        points, classes = planted(n_classes=n_classes)
        for weights in ({}, {"sample_weight": np.linspace(0.5, 2, 160)}):
            expected = held_out(GaussianNB(), points, classes, **weights)
            np.testing.assert_allclose(held_out(DeviceNaiveBayes(DEVICE), points, classes, **weights), expected)

    def test_boosted_stumps(self, n_classes):
        points, classes = planted(n_classes=n_classes)
        for weights in ({}, {"sample_weight": np.linspace(0.5, 2, 160)}):
            expected = held_out(BoostedStumps(20), points, classes, **weights)
            ours = held_out(BoostedStumps(20, LIKE_A_GPU), points, classes, **weights)
            np.testing.assert_allclose(ours, expected, atol=1e-9)

    def test_a_dimension_that_tells_all_ends_the_boosting(self, n_classes):
        classes = np.arange(40) % n_classes
        stumps = BoostedStumps(30, LIKE_A_GPU).fit((classes == 0)[:, None].astype(float), np.minimum(classes, 1))
        assert len(stumps._stumps) == 1


def test_machines_solved_side_by_side_are_those_solved_alone():
    tasks = [MachinesTask(*planted(n, 3, seed=n), np.ones(3), DEVICE) for n in (60, 90)]
    points = planted(20)[0]
    for together, task in zip(solve_machines(tasks), tasks, strict=True):
        (alone,) = solve_machines([task])
        np.testing.assert_allclose(together.margins(points), alone.margins(points), atol=5e-3)


def test_regressions_fitted_side_by_side_are_those_fitted_alone():
    several = [planted(n, 3, seed=n) for n in (60, 90)]
    alone = [DeviceLogistic(1.0, DEVICE).fit(*each) for each in several]
    with trained_together():
        together = [DeviceLogistic(1.0, DEVICE).fit(*each) for each in several]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["logistic_tuned", "quadratic", "naive_bayes", "knn", "svm", "mlp_tuned", "flip_aware", "ensemble", "adaboost"],
)
def test_an_attacker_says_on_a_gpu_what_it_says_on_a_cpu(name, monkeypatch):
    monkeypatch.setattr(Attacker, "device_users", 0)
    attacker, jobs = registered_attackers()[name], [Job(*planted(100, 2, seed=seed), seed) for seed in (1, 2)]
    for ours, theirs in zip(attacker.fit_many(jobs, LIKE_A_GPU), attacker.fit_many(jobs), strict=True):
        points = planted(50, 2, seed=3)[0]
        np.testing.assert_allclose(ours.predict_proba(points), theirs.predict_proba(points), atol=1e-2)


def test_few_users_stay_on_the_cores_of_the_cpu():
    attackers = [registered_attackers()[name] for name in ("svm", "xgboost", "random_forest")]
    cells = all_cells([3000, 1000], [0.8], attackers, repeats=1, folds=5, device="cuda")
    assert {(cell.attribute, cell.attacker.name) for cell in cells if cell.device == "cuda"} == {(0, "svm")}
    assert [cell.folds for cell in cells if cell.device == "cuda"] == [(0, 1, 2, 3, 4)]


def test_xgboost_without_cuda_computes_on_the_cpu(monkeypatch):
    for built, expected in ((True, "cuda:1"), (False, "cpu")):
        monkeypatch.setattr("xgboost.build_info", lambda built=built: {"USE_CUDA": built})
        xgboost_device.cache_clear()
        assert xgboost_device("cuda:1") == expected
    xgboost_device.cache_clear()


class TestBlocks:
    def test_every_item_is_solved_once_and_in_order(self, monkeypatch):
        monkeypatch.setattr(blocks, "_BYTES", 10)
        seen = []

        def solve(block):
            seen.append(list(block))
            return [2 * item for item in block]

        assert blocks.in_blocks([5, 1, 3, 1], [5, 1, 3, 1], solve, "cpu") == [10, 2, 6, 2]
        assert sorted(map(len, seen)) == [1, 3]

    def test_a_block_is_halved_where_the_device_has_no_room(self):
        seen = []

        def solve(block):
            seen.append(len(block))
            if len(block) > 1:
                raise torch.OutOfMemoryError
            return block

        assert blocks.in_blocks([1, 2, 3], [1, 1, 1], solve, "cpu") == [1, 2, 3]
        assert max(seen) == 3

    def test_an_item_that_never_fits_is_an_error(self):
        def solve(block):
            raise torch.OutOfMemoryError

        with pytest.raises(torch.OutOfMemoryError):
            blocks.in_blocks([1, 2], [1, 1], solve, "cpu")
