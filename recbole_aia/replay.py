"""Work that repeats: on CUDA recorded once as a graph, and replayed with one launch for all its kernels."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger

import torch
from torch import Tensor

_EAGER = 2  # calls before the recording: libraries set themselves up in the first, which cannot be recorded
_WORTH = 6  # calls below which recording costs more than it saves


class Replayed:
    """A function that is called many times and does the same at each call, with tensors that stay where they are.

    On a CPU a call is a call. On CUDA the third call records all kernels of the function as a graph, and each later one
    replays the graph. A GPU then waits for no launch of a small kernel. The function must neither read a value of a
    tensor nor make a tensor that is read after the call: it writes its results into tensors that are there before.

    If the function cannot be recorded, a line in the log says so, and calls go on as on a CPU.

    Args:
        function: what is called.
        like: a tensor on the device where the function computes.
        calls: about how many calls will follow; few are not worth a recording.
    """

    def __init__(self, function: Callable[[], None], like: Tensor, calls: int) -> None:
        self._function, self._done = function, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(like.device) if like.is_cuda and calls >= _WORTH else None

    def __call__(self) -> None:
        """Calls the function, or replays it."""
        if self._graph is not None:
            self._graph.replay()
        elif self._stream is None:
            self._function()
        elif self._done < _EAGER:
            self._aside(self._stream)
        else:
            self._record(self._stream)
        self._done += 1

    def _aside(self, stream: torch.cuda.Stream) -> None:
        """Calls the function in the stream of the later recording."""
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            self._function()
        torch.cuda.current_stream(stream.device).wait_stream(stream)

    def _record(self, stream: torch.cuda.Stream) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread, such as that of attackers, may compute meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._function()
        except RuntimeError as error:
            getLogger().warning(f"recbole-aia: no CUDA graph, so steps take longer ({str(error).splitlines()[0]})")
            self._stream = None
            self._function()
            return
        self._graph = graph
        graph.replay()
