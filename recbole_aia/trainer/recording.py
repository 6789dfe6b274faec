"""Functions of tensors that a GPU records once and then replays in a single launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

_WARM_UP = 3  # calls before the record, in which libraries and optimizers set themselves up

_Result = TypeVar("_Result")


class Recorded(Generic[_Result]):
    """A function of tensors whose operations are recorded once, as a CUDA graph, and then replayed.

    A replay launches all operations at once. The first calls run the function as it is, and so do calls with tensors
    of other shapes. On a CPU a replay calls the function with the recorded tensors.

    Args:
        function: it must do the same operations on the same tensors in every call, and must not wait for the device. It
            may change tensors in place, and that is all that a replay does.
    """

    def __init__(self, function: Callable[..., _Result]) -> None:
        self._function, self._calls = function, 0
        self._held: list[Tensor] | None = None
        self._replay: Callable[[], Any]
        self._result: _Result
        self._stream: Any = None

    def __call__(self, *inputs: Tensor) -> _Result:
        """Calls the function; a replay returns what the function returned when it was recorded."""
        self._calls += 1
        if self._held is None and self._calls > _WARM_UP:
            self._record(inputs)
        if self._held is None or any(a.shape != b.shape for a, b in zip(self._held, inputs, strict=True)):
            return self._run(inputs)
        for held, given in zip(self._held, inputs, strict=True):
            held.copy_(given)
        self._replay()
        return self._result

    def _record(self, inputs: Sequence[Tensor]) -> None:
        held = [each.clone() for each in inputs]
        if held[0].is_cuda:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._result = self._function(*held)
            self._replay = graph.replay
        else:
            self._replay = lambda: setattr(self, "_result", self._function(*held))
        self._held = held

    def _run(self, inputs: Sequence[Tensor]) -> _Result:
        if not inputs[0].is_cuda:
            return self._function(*inputs)
        # What will be recorded must first have run on another stream than the default one.
        self._stream = self._stream or torch.cuda.Stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self._function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return result
