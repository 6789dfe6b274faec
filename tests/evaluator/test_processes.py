"""What is spread over processes and what is not; one file, so that the processes are started once."""

import numpy as np

from recbole_aia.evaluator import Attacker, AttributeInferenceEvaluator, registered_attackers
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.presets import PRESETS
from recbole_aia.evaluator.protocol import cross_validate


def test_the_number_of_processes_changes_nothing():
    classes = np.arange(80) % 2
    embeddings = np.random.default_rng(0).normal(size=(80, 4))
    embeddings[:, 0] += 0.5 * classes
    names = [*PRESETS["default"].attackers, "svm", "random_forest", "flip_aware", "ensemble"]
    settings = {"attackers": names, "attack_folds": 2, "attack_repeats": 1, "attack_permutations": 40, "seed": 7}
    found = []
    for jobs in (1, 2):
        evaluator = AttributeInferenceEvaluator(settings, attack_jobs=jobs, show_progress=False)
        rows = evaluator.evaluate(embeddings, {"b": classes, "a": classes[::-1]}).rows
        found.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    assert found[0] == found[1]
    assert [(row["attribute"], row["attacker"]) for row in found[0]] == [(a, name) for a in "ba" for name in names]


def test_what_computes_on_a_device_stays_in_this_process():
    """The device meta holds no numbers: whoever touched it would fail."""
    seen = []

    class Here(Attacker):
        name = "here"
        uses_device = True
        device_users = 0

        def fit(self, embeddings, classes, seed):
            seen.append(self.device)
            return self

        def predict_proba(self, embeddings):
            return np.full((len(embeddings), 2), 0.5)

    attribute = encode_labels("a", np.arange(40) % 2, 40, 4)
    options = {"folds": 4, "repeats": 1, "seed": 0, "n_jobs": 2, "device": "meta"}
    logistic = registered_attackers()["logistic"]
    results = cross_validate(np.random.default_rng(0).normal(size=(40, 3)), [attribute], [Here, logistic], **options)
    assert seen == ["meta"] * 4
    assert [held_out.attacker for held_out in results] == ["here", "logistic"]
