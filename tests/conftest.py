"""Shared fixtures: RecBole reads the command line and writes to the working directory, so both are pinned."""

from __future__ import annotations

import functools
import os
import sys

# Two test processes share two cores, and small arrays gain nothing from threads; nor do attacks from processes of
# their own, where a test does not ask for them. Libraries read this when they are first imported.
os.environ["OMP_NUM_THREADS"] = os.environ["LOKY_MAX_CPU_COUNT"] = "1"

import pytest
import torch
from devices import OnDevice
from hypothesis import settings

import recbole_aia  # noqa: F401 - the shims come first
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.devices import find_device
from recbole_aia.data import create_dataset
from recbole_aia.testing import ml_100k, short_config

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where the tests compute: cpu (default) or cuda")


def pytest_configure(config):
    """Decides the device of all tests: what they build computes on the GPU if there is one, and cpu hides it."""
    if config.getoption("device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for processes that tests start; this one asks torch once, now:
    if torch.cuda.is_available() == (config.getoption("device") == "cpu"):
        raise pytest.UsageError(f"--device={config.getoption('device')}, and torch sees another device")


@pytest.fixture(scope="session")
def device():
    """Where the tests compute."""
    return find_device()


@pytest.fixture(scope="session", autouse=True)
def _on_device():
    """What tests compute by themselves may mix tensors of the CPU and of a GPU; see :mod:`tests.devices`."""
    device = find_device()
    if device.type == "cpu":
        yield
        return
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.testing, "assert_close", functools.partial(torch.testing.assert_close, check_device=False))
    with OnDevice(device):
        yield
    patch.undo()


settings.register_profile("shared", deadline=None)  # two cores may be busy
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.chdir(tmp_path)
    # RecBole's configuration writes gpu_id there, and the next test would look for that GPU.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    yield
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible


@pytest.fixture
def make_config(tmp_path):
    """Builds a configuration on ml-100k that is quiet and writes under the test's own folder."""

    def make(model="BPR", **values):
        return short_config(model, tmp_path, **values)

    return make


@pytest.fixture(scope="session")
def ml100k():
    """The dataset as created; splitting it needs a copy."""
    return ml_100k()


@pytest.fixture(scope="session")
def split_ml100k():
    """Pairwise loaders, shared read-only by tests that train nothing."""
    from recbole_aia.data import prepare_loaders

    config = AIAConfig("BPR", "ml-100k", argv=[])
    return prepare_loaders(config, create_dataset(config))
