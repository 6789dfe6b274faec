from importlib.metadata import PackageNotFoundError, version

import pytest

from recbole_aia.storage import run_folder


@pytest.fixture
def without(monkeypatch):
    def of(*names):
        def found(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(run_folder, "version", found)

    return of


def test_a_module_of_another_distribution_has_that_ones_version(without, monkeypatch):
    without("xgboost")
    monkeypatch.setattr(
        run_folder, "packages_distributions", lambda: {"xgboost": ["scipy"]}
    )  # as xgboost-cpu brings it
    assert run_folder.versions()["xgboost"] == version("scipy")


def test_what_cannot_be_told_does_not_end_a_run(without):
    without("POT", "nothing")
    assert run_folder.versions()["POT"] == "unknown"
    assert run_folder.package_version("nothing") is None
