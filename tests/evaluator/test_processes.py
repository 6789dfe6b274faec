"""What is spread over processes and what is not; one file, so that the processes are started once."""

import numpy as np
import pytest
from processes import together

from recbole_aia.evaluator import Attacker, AttributeInferenceEvaluator, registered_attackers
from recbole_aia.evaluator.fits import all_cells, dealt, own_cores
from recbole_aia.evaluator.labels import encode_labels
from recbole_aia.evaluator.presets import PRESETS
from recbole_aia.evaluator.protocol import cross_validate
from recbole_aia.ranks import lead


def test_the_number_of_processes_changes_nothing():
    classes = np.arange(80) % 2
    embeddings = np.random.default_rng(0).normal(size=(80, 4))
    embeddings[:, 0] += 0.5 * classes
    names = [*PRESETS["default"].attackers, "svm", "random_forest", "flip_aware", "ensemble"]
    settings = {"attackers": names, "attack_folds": 2, "attack_repeats": 1, "attack_permutations": 40, "seed": 7}

    def attack(jobs=1):
        evaluator = AttributeInferenceEvaluator(settings, attack_jobs=jobs, show_progress=False)
        rows = evaluator.evaluate(embeddings, {"b": classes, "a": classes[::-1]}).rows
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    def shared():
        found = []
        lead({"device": "cpu"}, lambda: found.extend(attack()))
        return found

    found = [together(2, shared)[0], attack(), attack(jobs=2)]
    assert found[0] == found[1] == found[2]
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


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_process_gets_as_many_of_every_attack(count):
    attackers = [registered_attackers()[name] for name in PRESETS["default"].attackers]
    cells = all_cells([80, 90], [0.8], attackers, repeats=2, folds=5)
    parts = dealt(cells, count)
    assert sorted(cell for part in parts for cell in map(cells.index, part)) == list(range(len(cells)))
    assert all(part == sorted(part, key=cells.index) for part in parts)
    for key in {cell.key for cell in cells}:
        shares = [sum(cell.key == key for cell in part) for part in parts]
        assert max(shares) - min(shares) <= 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_processes_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("recbole_aia.evaluator.fits.cpu_count", lambda: 9)
    assert own_cores() == 9
    for name, value in {"RANK": 5, "LOCAL_RANK": 1, "WORLD_SIZE": 8, "MASTER_ADDR": "first"}.items():
        monkeypatch.setenv(name, str(value))
    assert own_cores() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert own_cores() == 2
