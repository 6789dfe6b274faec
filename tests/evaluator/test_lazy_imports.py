import subprocess
import sys

ESTIMATORS = ("ensemble", "linear_model", "naive_bayes", "neighbors", "neural_network", "svm", "tree")

# Loads the evaluator alone, whatever else the package's root loads.
ALONE = """
import importlib.util, sys, types
package = types.ModuleType("recbole_aia")
package.__path__ = importlib.util.find_spec("recbole_aia").submodule_search_locations
sys.modules["recbole_aia"] = package
"""

LOADED = """
import recbole_aia.evaluator, recbole_aia.evaluator.shadow
print(*sys.modules)
"""

# An attacker that loads its libraries late, and says how many threads those may use.
THREADS = """
import numpy as np
from threadpoolctl import threadpool_info
from recbole_aia.evaluator import Attacker, AttributeInferenceEvaluator, register_attacker

@register_attacker
class Late(Attacker):
    name = "late"

    def fit(self, embeddings, classes, seed):
        import sklearn.ensemble, sklearn.neighbors, sklearn.svm, xgboost
        print(*{pool["num_threads"] for pool in threadpool_info()})
        return self

    def predict_proba(self, embeddings):
        return np.full((len(embeddings), 2), 0.5)

settings = {"attackers": ["late"], "attack_jobs": 1, "attack_repeats": 1, "show_progress": False}
AttributeInferenceEvaluator(settings).evaluate(np.eye(20), np.arange(20) % 2)
"""


def printed(code):
    return subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, check=True).stdout


def test_importing_the_evaluator_loads_no_estimators():
    loaded = set(printed(LOADED).split())
    assert "recbole_aia.evaluator.attackers.trees" in loaded
    assert not loaded & {"xgboost", "ot", "recbole", *(f"sklearn.{name}" for name in ESTIMATORS)}


def test_libraries_that_are_loaded_during_a_fit_have_one_thread_as_well():
    assert set(printed(THREADS).split()) == {"1"}
