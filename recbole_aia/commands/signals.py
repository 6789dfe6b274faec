"""SIGINT and SIGTERM while a command runs: what is half-written is removed, and one line says how to go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from recbole_aia.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CLEANING = 5.0  # seconds after a signal in which further ones are ignored


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, either signal raises :class:`~recbole_aia.errors.Interrupted`.

    Signals of the next five seconds are ignored, because they would stop the cleaning up. Later ones raise again, for
    a library can swallow an exception that comes at a bad moment. Processes that were forked from this one end at
    once. In another thread than the main one nothing changes, because Python lets no other set signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main, last, before = os.getpid(), [float("-inf")], {number: signal.getsignal(number) for number in _SIGNALS}

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != main:
            os._exit(128 + number)
        now = time.monotonic()
        if now - last[0] > _CLEANING:
            last[0] = now
            raise Interrupted(number)

    for number in _SIGNALS:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
