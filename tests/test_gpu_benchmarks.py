"""The benchmarks of a GPU run on a CPU too, where their times say nothing."""

import pytest

from benchmarks import gpu_epochs, gpu_large
from benchmarks.setting import Shape

TINY = Shape(60, 50, 900)


@pytest.mark.parametrize("name", gpu_epochs.MEASURES)
def test_a_measure_prints_what_it_compares(monkeypatch, name):
    monkeypatch.setattr(gpu_epochs, "REPEATS", 1)
    line = gpu_epochs.MEASURES[name][0](gpu_epochs.Setting(TINY, "cpu"), "BPR")
    assert line["ratio"] > 0
    assert line.get("loss_error", 0) < 1e-6


def test_a_million_users_stand_for_fewer():
    line = gpu_large.large(TINY, "cpu")
    assert line["users"] == 60
    assert min(line["first_epoch_s"], line["epoch_s"], line["alignment_s"]) >= 0
