"""Puts the tensors that these tests make on the device of the tests; the code under test gets no such help."""

import sys
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

_HERE = str(Path(__file__).parent)
_MAKERS = {
    getattr(torch, name)
    for name in "tensor as_tensor from_numpy zeros ones full empty eye arange linspace rand randn randint randperm".split()
}


class _TestsTensors(TorchFunctionMode):
    """Makes a tensor on the CPU, so that its numbers are the same on every device, and moves it."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function not in _MAKERS or not sys._getframe(1).f_code.co_filename.startswith(_HERE):
            return function(*args, **kwargs)
        learned = kwargs.pop("requires_grad", False)
        return function(*args, **kwargs).to(kwargs.get("device", self.device)).requires_grad_(learned)


@pytest.fixture(autouse=True, scope="module")
def _on_the_device(device):
    if device.type == "cpu":
        yield
        return
    with _TestsTensors(device):
        yield
