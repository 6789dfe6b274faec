"""Where a run computes: the key device, RecBole's gpu_id and use_gpu, and what a scheduler has set."""

import os

import pytest
import torch

from recbole_aia import cli
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.devices import device_memory, find_device
from recbole_aia.errors import ConfigValueError, DeviceMemoryError
from recbole_aia.storage.run_folder import config_text

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB"


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that torch sees GPUs; a configuration chooses one and computes nothing."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)

    return pretend


def chosen(**values):
    return str(AIAConfig("BPR", "ml-100k", config_dict=values, argv=[])["device"])


@pytest.mark.parametrize(
    ("values", "device"),
    [
        ({}, "cuda"),
        ({"device": "auto"}, "cuda"),
        ({"device": "cpu"}, "cpu"),
        ({"device": "cuda:1"}, "cuda:1"),
        ({"device": torch.device("cuda", 1)}, "cuda:1"),
        ({"gpu_id": ""}, "cpu"),
        ({"gpu_id": "1"}, "cuda"),
        ({"use_gpu": False}, "cpu"),
        ({"use_gpu": False, "device": "cuda"}, "cuda"),
        ({"gpu_id": "", "device": "cuda"}, "cuda"),
    ],
)
def test_with_gpus_the_key_decides_and_else_recboles_keys_do(gpus, values, device):
    gpus(2)
    assert chosen(**values) == device


def test_without_a_gpu_the_cpu_computes_and_a_gpu_that_is_asked_for_is_refused(gpus):
    gpus(0)
    assert chosen() == chosen(device="auto") == "cpu"
    with pytest.raises(ConfigValueError, match=r"device is 'cuda', and torch sees no GPU\. Write --device=cpu"):
        chosen(device="cuda")
    gpus(2)
    with pytest.raises(ConfigValueError, match="device is 'cuda:2', and torch sees 2 of them, counted from 0"):
        chosen(device="cuda:2")


def test_what_a_scheduler_has_made_visible_stays_unless_gpu_id_names_another(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    for values in ({}, {"gpu_id": "0"}, {"device": "cpu"}):
        chosen(**values)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    chosen(gpu_id="1,2")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"


def test_a_written_configuration_does_not_name_the_device_of_its_machine():
    assert "\ndevice:" not in config_text(AIAConfig("BPR", "ml-100k", argv=["--device=cpu"]))


def test_a_device_is_found_by_its_name(gpus):
    gpus(1)
    assert [str(find_device(name)) for name in ("auto", "cpu", "cuda", "cuda:0")] == ["cuda", "cpu", "cuda", "cuda:0"]
    with pytest.raises(ConfigValueError, match=r"device is 'tpu'\. It must be auto, cpu, cuda or cuda:<number>"):
        find_device("tpu")


class TestAFullGpu:
    def test_is_one_line_that_names_the_key_to_lower(self):
        with pytest.raises(DeviceMemoryError) as caught, device_memory("the training", "train_batch_size"):
            raise RuntimeError(FULL)
        assert str(caught.value) == (
            "the GPU's memory is too small for the training. Lower train_batch_size, or add --device=cpu."
        )

    def test_is_named_by_the_innermost_work(self):
        outer, inner = device_memory("the training", "train_batch_size"), device_memory("a look", "eval_batch_size")
        with pytest.raises(DeviceMemoryError, match="too small for a look"), outer, inner:
            raise RuntimeError(FULL)

    def test_is_told_from_other_errors(self):
        with pytest.raises(RuntimeError, match="shapes"), device_memory("the training", "train_batch_size"):
            raise RuntimeError("shapes disagree")

    def test_ends_a_command_with_exit_code_2(self, monkeypatch, capsys):
        def full(*_):
            raise RuntimeError(FULL)

        monkeypatch.setattr("recbole_aia.jobs.doctor.doctor", full)
        assert cli.main(["doctor"]) == 2
        line = capsys.readouterr().err
        assert line.startswith("recbole-aia: the GPU's memory is too small for that. Lower train_batch_size")
        assert line.count("\n") == 1


class TestMixedPrecision:
    def test_is_refused_where_a_defense_works_in_training(self):
        with pytest.raises(ConfigValueError, match="enable_amp is True, and raid compares users in single precision"):
            AIAConfig("BPR", "ml-100k", argv=["--defense=raid", "--enable_amp=True"])

    def test_is_taken_for_an_undefended_training_and_after_it(self):
        for arguments in ([], ["--defense=attrcloak"], ["--defense=calibrated", "--stage=post"]):
            assert AIAConfig("BPR", "ml-100k", argv=[*arguments, "--enable_amp=True"])["enable_amp"]
