"""Several processes that train together, forked from the test's, so that they start at once."""

import multiprocessing
import os
import pickle
import time
import traceback
from contextlib import nullcontext, suppress

import torch

from recbole_aia.launch import free_port
from recbole_aia.ranks import at_work, joined


def together(count, function, *arguments, working=True):
    """What ``function(*arguments)`` returns in each of ``count`` processes, in order; ``None`` for one that died.

    They share the work, or are as torchrun starts them where ``working`` is false.
    """
    port, context = free_port(), multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_child, args=(rank, count, port, pipe[1], function, arguments, working))
        for rank, pipe in enumerate(pipes)
    ]
    for child in children:
        child.start()
    try:
        found = [_answer(child, pipe[0]) for child, pipe in zip(children, pipes, strict=True)]
    finally:
        for child in children:
            child.kill()
            child.join()
    for error in found:
        if isinstance(error, str) and error.startswith("Traceback"):
            raise AssertionError(error)
    return found


def _answer(child, pipe):
    until = time.monotonic() + 60
    while not pipe.poll(0.01):
        if not child.is_alive() and not pipe.poll():
            return None
        if time.monotonic() > until:
            return "Traceback: a process hangs"
    return pickle.loads(pipe.recv_bytes())


def _child(rank, count, port, pipe, function, arguments, working):
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        with joined(torch.device("cpu")) if working else nullcontext(), at_work():
            found = function(*arguments)
    except BaseException:
        found = traceback.format_exc()
    with suppress(BrokenPipeError):
        pipe.send_bytes(pickle.dumps(found))
