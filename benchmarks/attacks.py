"""All attackers of the RAID protocol: ours against a plain loop over scikit-learn's and XGBoost's classifiers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from benchmarks.measure import seconds, speed_up
from benchmarks.setting import device
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.evaluator.fits import own_cores
from recbole_aia.evaluator.protocol import assign_folds
from recbole_aia.evaluator.statistics import corrected_interval

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


class Suite(NamedTuple):
    """Size of the attack. The reference runs ``reference_repeats`` of the ``repeats``, and its time is scaled up."""

    users: int
    dimensions: int
    folds: int
    repeats: int
    reference_repeats: int


FULL = Suite(6040, 64, 5, 5, 1)
QUICK = Suite(200, 8, 2, 1, 1)

_MLP = {"alpha": 1.0, "learning_rate_init": 1e-3, "max_iter": 500}
#: The attackers of the RAID paper's appendix B.2, as a user would write them with scikit-learn and XGBoost.
REFERENCE: dict[str, Callable[[int], Any]] = {
    "mlp_raid": lambda seed: MLPClassifier((100,), **_MLP, random_state=seed),
    "mlp_raid_1": lambda seed: MLPClassifier((), **_MLP, random_state=seed),
    "mlp_raid_3": lambda seed: MLPClassifier((100, 64), **_MLP, random_state=seed),
    "mlp_raid_4": lambda seed: MLPClassifier((100, 64, 32), **_MLP, random_state=seed),
    "decision_tree_raid": lambda seed: DecisionTreeClassifier(random_state=seed),
    "svm_raid": lambda seed: SVC(probability=True, random_state=seed),
    "naive_bayes_raid": lambda seed: GaussianNB(),
    "knn_raid": lambda seed: KNeighborsClassifier(),
    "random_forest_raid": lambda seed: RandomForestClassifier(n_estimators=100, max_depth=20, random_state=seed),
    "adaboost_raid": lambda seed: AdaBoostClassifier(n_estimators=50, random_state=seed),
    "xgboost_raid": lambda seed: XGBClassifier(random_state=seed),
    "gradient_boosting_raid": lambda seed: GradientBoostingClassifier(n_estimators=100, random_state=seed),
}


def planted(users: int, dimensions: int, seed: int = 0) -> tuple[FloatArray, dict[str, IntArray]]:
    """Embeddings ``[users, dimensions]`` with a falling spectrum, and two attributes whose classes differ in mean."""
    rng = np.random.default_rng(seed)
    labels = {"gender": rng.choice(2, users, p=[0.72, 0.28]), "age": rng.choice(3, users, p=[0.57, 0.27, 0.16])}
    points = rng.normal(size=(users, dimensions))
    for classes in labels.values():
        points += (0.7 / dimensions**0.5 * rng.normal(size=(classes.max() + 1, dimensions)))[classes]
    rotation = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    return points * np.linspace(0.2, 0.03, dimensions) @ rotation, labels


def attack_suite(suite: Suite) -> dict[str, Any]:
    """Times both on the same folds, and counts the metrics for which ours is inside the reference's interval."""
    embeddings, labels = planted(suite.users, suite.dimensions)
    evaluator = AttributeInferenceEvaluator(
        attackers=list(REFERENCE),
        attack_folds=suite.folds,
        attack_repeats=suite.repeats,
        show_progress=False,
        device=str(device()),
    )
    reports: list[AttackReport] = []
    ours = seconds(lambda: reports.append(evaluator.evaluate(embeddings, labels)))
    attributes = {attribute.name: attribute for attribute in evaluator.attacked_attributes(labels, suite.users)[0]}
    fold_of = {
        name: assign_folds(attribute, suite.folds, suite.reference_repeats, evaluator.settings.seed)
        for name, attribute in attributes.items()
    }
    intervals: dict[tuple[str, str, str], tuple[float, float, float]] = {}
    reference = seconds(lambda: intervals.update(_intervals(embeddings, labels, fold_of)))
    means = {
        (row["attribute"], row["attacker"], metric): row["metrics"][metric]["mean"]
        for row in reports[0].rows
        for metric in _METRICS
    }
    outside = [key for key, (_, low, high) in intervals.items() if not low <= means[key] <= high]
    aucs = [abs(means[key] - value[0]) for key, value in intervals.items() if key[2] == "auc"]
    return speed_up(
        "attack_suite",
        ours,
        reference * suite.repeats / suite.reference_repeats,
        max(aucs),
        **suite._asdict(),
        processes=own_cores(),
        within=f"{len(intervals) - len(outside)} of {len(intervals)}",
        outside=[" ".join(key) for key in outside],
    )


_METRICS = ("auc", "balanced_accuracy", "f1_macro", "f1_micro")


def _intervals(
    embeddings: FloatArray, labels: dict[str, IntArray], fold_of: dict[str, IntArray]
) -> Iterator[tuple[tuple[str, str, str], tuple[float, float, float]]]:
    for attribute, classes in labels.items():
        folds = int(fold_of[attribute].max()) + 1
        for attacker, make in REFERENCE.items():
            rows = [
                _fold(make(repeat), embeddings, classes, held_out == fold)
                for repeat, held_out in enumerate(fold_of[attribute])
                for fold in range(folds)
            ]
            for metric, values in zip(_METRICS, np.array(rows).T, strict=True):
                yield (attribute, attacker, metric), corrected_interval(values, 1 / (folds - 1))


def _fold(model: Any, embeddings: FloatArray, classes: IntArray, held_out: NDArray[np.bool_]) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about reached epoch limits and future versions of scikit-learn
        model.fit(embeddings[~held_out], classes[~held_out])
    true, predicted = classes[held_out], model.predict(embeddings[held_out])
    shares = model.predict_proba(embeddings[held_out])
    auc = float(np.mean([roc_auc_score(true == k, shares[:, k]) for k in range(shares.shape[1])]))
    f1 = (float(f1_score(true, predicted, average=how)) for how in ("macro", "micro"))
    return [auc, float(balanced_accuracy_score(true, predicted)), *f1]
