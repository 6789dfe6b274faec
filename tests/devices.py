"""Lets tests compute on a GPU as they are written: what a test does to tensors of two devices is done on the GPU.

The code under test gets no such help: a tensor on the wrong device is an error there, as for a user.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

_TESTS = Path(__file__).parent
_CODE = tuple(str(Path(find_spec(name).origin).parent) for name in ("recbole_aia", "recbole"))
# Here every tensor that a test makes is on the device: the functions under test take tensors and nothing else.
_PURE = str(_TESTS / "losses")
_MAKERS = {torch.tensor, torch.from_numpy, torch.zeros, torch.ones, torch.full, torch.empty, torch.eye, torch.arange}
_MAKERS |= {torch.linspace, torch.rand, torch.randn, torch.randint, torch.randperm}
_TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)
_STAYS = (torch.Tensor.to, torch.Tensor.copy_)


class OnDevice(TorchFunctionMode):
    """Active in all tests on a device other than the CPU."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        file = _caller()
        if not file.startswith(str(_TESTS)) or function in _STAYS:
            return function(*args, **kwargs)
        if function in _TO_NUMPY:
            return function(args[0].cpu(), *args[1:], **kwargs)
        if function in _MAKERS and file.startswith(_PURE):
            # Drawn on the CPU, so that a seed gives the same numbers on every device.
            learned = kwargs.pop("requires_grad", False)
            return function(*args, **kwargs).to(kwargs.get("device", self.device)).requires_grad_(learned)
        found = set(_devices([args, kwargs]))
        if len(found) < 2:
            return function(*args, **kwargs)
        name = function.__name__
        writes = name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        place = args[0].device if writes else self.device
        return function(*_moved(args, place), **_moved(kwargs, place))


def _caller():
    """The file of the nearest caller that is a test, RecBole or ours; libraries such as NumPy are passed over."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith((str(_TESTS), *_CODE)):
            return file
        frame = frame.f_back
    return ""


def _devices(value):
    if isinstance(value, torch.Tensor):
        yield value.device.type
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _devices(each)
    elif isinstance(value, dict):
        yield from _devices(list(value.values()))


def _moved(value, place):
    if isinstance(value, torch.Tensor):
        return value.to(place)
    if isinstance(value, list | tuple):
        return type(value)(_moved(each, place) for each in value)
    return {key: _moved(each, place) for key, each in value.items()} if isinstance(value, dict) else value
