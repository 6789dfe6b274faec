"""Attacks on small data, for tests of the evaluator."""

import numpy as np

from recbole_aia.evaluator import AttributeInferenceEvaluator

QUICK = {"attackers": ["logistic"], "attack_repeats": 2, "attack_permutations": 40, "attack_jobs": 1, "seed": 7}


def attack(embeddings, labels, class_names=None, **settings):
    evaluator = AttributeInferenceEvaluator({**QUICK, **settings}, show_progress=False)
    return evaluator.evaluate(embeddings, labels, class_names=class_names)


def gaussians(n, shift, d=4, seed=0):
    """Two classes whose means differ by ``shift``; the best possible AUC is Phi(shift / sqrt 2)."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    embeddings = rng.normal(size=(n, d))
    embeddings[:, 0] += shift * classes
    return embeddings, classes


def untimed(report):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in report.rows]
