from importlib.metadata import PackageNotFoundError, version

import pytest
import xgboost

from recbole_aia import runs


@pytest.fixture
def without(monkeypatch):
    def of(*names):
        def found(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(runs, "version", found)

    return of


def test_a_module_of_another_distribution_is_asked_for_its_version(without):
    without("xgboost")  # as where xgboost-cpu is installed
    assert runs.versions()["xgboost"] == xgboost.__version__


def test_what_cannot_be_told_does_not_end_a_run(without):
    without("scikit-learn", "nothing")
    assert runs.versions()["scikit-learn"] == "unknown"
    assert runs.package_version("nothing") is None
