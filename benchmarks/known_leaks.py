"""Audits embeddings whose leak is known, and counts how often an audit reports a leak where there is none.

    python -m benchmarks.known_leaks --seeds 100

The embeddings are normal, in two equally large classes. In some the means differ, so that the best possible AUC is one
of five levels. In others the covariances differ, and the true likelihood ratio gives the best possible AUC. The
strongest attacker should come near this AUC. At the level 0.5 there is no leak. For it the benchmark counts how often
each attacker's advantage exceeds its floor, and how often the worst case exceeds its own floor.

Prints one JSON line for each leak, and one for chance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import norm

from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.evaluator.metrics import one_vs_rest_auc

#: Best possible AUCs of the mean leaks; the first is no leak.
LEVELS = (0.5, 0.6125, 0.725, 0.8375, 0.95)
#: Variances of the second class along eight directions in the covariance leak; the first class has 1.
SPREADS = (4.0, 2.0, 1.5, 1.0, 1.0, 1 / 1.5, 1 / 2.0, 1 / 4.0)

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


class Leak(NamedTuple):
    """Embeddings ``[n, d]``, classes ``[n]`` and the AUC of the true likelihood ratio."""

    embeddings: FloatArray
    classes: IntArray
    bayes_auc: float


def mean_leak(level: float, n: int, d: int, seed: int) -> Leak:
    r"""Normal classes whose means differ by :math:`\sqrt 2\, \Phi^{-1}(\text{level})` in a random direction.

    The best possible AUC then is ``level``: the likelihood ratio of two normal classes at the distance d has the AUC
    :math:`\Phi(d / \sqrt 2)`.
    """
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=d)
    direction *= 2**0.5 * norm.ppf(level) / np.linalg.norm(direction)
    classes = rng.permutation(np.arange(n) % 2)
    return Leak(rng.normal(size=(n, d)) + classes[:, None] * direction, classes, level)


def covariance_leak(n: int, seed: int, spreads: Sequence[float] = SPREADS) -> Leak:
    """Normal classes of one mean; the second class is stretched by the variances ``spreads`` in rotated directions."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(len(spreads), len(spreads))))[0]
    classes = rng.permutation(np.arange(n) % 2)
    points = _stretched(classes, spreads, rng) @ rotation.T
    return Leak(points, classes, _covariance_bayes_auc(spreads))


def _stretched(classes: IntArray, spreads: Sequence[float], rng: np.random.Generator) -> FloatArray:
    points = rng.normal(size=(len(classes), len(spreads)))
    stretched: FloatArray = np.where(classes[:, None] == 1, points * np.sqrt(spreads), points)
    return stretched


def _covariance_bayes_auc(spreads: Sequence[float]) -> float:
    r"""AUC of the log likelihood ratio :math:`\frac12 \sum_j x_j^2 (1 - 1/s_j)` up to a constant, to about 0.001.

    It is estimated on 400,000 users without the rotation, which does not change it.
    """
    classes = np.arange(400_000) % 2
    points = _stretched(classes, spreads, np.random.default_rng(0))
    ratio = 0.5 * (points**2 @ (1 - 1 / np.asarray(spreads)))
    return float(one_vs_rest_auc(classes, np.stack([-ratio, ratio], axis=1))[1])


def audit(leak: Leak, seed: int, **settings: Any) -> AttackReport:
    """Audits a leak in this process."""
    evaluator = AttributeInferenceEvaluator(
        {"protocol": "strict", "attack_repeats": 1, "attack_jobs": 1, "seed": seed, "show_progress": False, **settings}
    )
    return evaluator.evaluate(leak.embeddings, {"class": leak.classes})


def gap(leak: Leak, report: AttackReport) -> dict[str, Any]:
    """The gap of the worst case: the best possible AUC minus the AUC of the attacker with the largest advantage."""
    worst = report.worst_case()["class"]
    auc = {row["attacker"]: row["metrics"]["auc"]["mean"] for row in report.rows}
    found = 0.5 + worst["advantage"] / 2
    return {
        "bayes_auc": leak.bayes_auc,
        "worst": worst["attacker"],
        "found": found,
        "gap": leak.bayes_auc - found,
        "auc": auc,
    }


def exceeded(report: AttackReport) -> dict[str, bool]:
    """Whether each attacker's advantage exceeds its floor, and whether the worst case exceeds its own floor."""
    above = {
        row["attacker"]: bool(row["metrics"]["advantage"]["mean"] > row["floor"]["permuted_advantage95"])
        for row in report.rows
    }
    worst = report.worst_case()["class"]
    return {**above, "worst case": bool(worst["advantage"] > worst["floor"])}


def main() -> None:
    """Prints the gaps and the exceedances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="data sets without a leak")
    parser.add_argument("--leak_seeds", type=int, default=3, help="data sets of each leak")
    parser.add_argument("--users", type=int, default=3000, help="users of a data set with a leak")
    parser.add_argument("--chance_users", type=int, default=300, help="users of a data set without one")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    leaks = [*(("mean", level) for level in LEVELS[1:]), ("covariance", None)]
    parallel = Parallel(n_jobs=arguments.jobs)
    for kind, level in leaks:
        found = parallel(delayed(_gap_of)(level, arguments.users, seed) for seed in range(arguments.leak_seeds))
        gaps = [each["gap"] for each in found]
        line = {"kind": kind, "users": arguments.users, "mean_gap": float(np.mean(gaps)), "largest_gap": max(gaps)}
        print(json.dumps({**line, "seeds": found}), flush=True)
    above = parallel(delayed(_chance_of)(arguments.chance_users, seed) for seed in range(arguments.seeds))
    counts = {name: sum(each[name] for each in above) for name in above[0]} if above else {}
    print(json.dumps({"kind": "chance", "users": arguments.chance_users, "of": len(above), "exceeded": counts}))


def _gap_of(level: float | None, users: int, seed: int) -> dict[str, Any]:
    leak = covariance_leak(users, seed) if level is None else mean_leak(level, users, 16, seed)
    return gap(leak, audit(leak, seed))


def _chance_of(users: int, seed: int) -> dict[str, bool]:
    return exceeded(audit(mean_leak(0.5, users, 16, seed), seed))


if __name__ == "__main__":
    main()
