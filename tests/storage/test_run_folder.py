from importlib.metadata import PackageNotFoundError, version

import pytest

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


def test_a_module_of_another_distribution_has_that_ones_version(without, monkeypatch):
    without("xgboost")
    monkeypatch.setattr(runs, "packages_distributions", lambda: {"xgboost": ["scipy"]})  # as xgboost-cpu brings it
    assert runs.versions()["xgboost"] == version("scipy")


def test_what_cannot_be_told_does_not_end_a_run(without):
    without("POT", "nothing")
    assert runs.versions()["POT"] == "unknown"
    assert runs.package_version("nothing") is None
