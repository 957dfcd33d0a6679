"""Ctrl-C: once stops cleanly, twice ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130
"""The exit code of a process that Ctrl-C stopped."""


@contextmanager
def ctrl_c_stops() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C inside the block, and end the process at the next one.

    The first is seen between two steps of Python; the second, by a thread of its own, also where Python is inside a
    long computation or waits for a lock. What is in the store stays: nothing there depends on a clean end.
    """

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - as signal handlers are called
        raise KeyboardInterrupt

    heard, told = os.pipe()
    os.set_blocking(told, False)
    before = signal.signal(signal.SIGINT, stop)
    wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_end_at_the_second, args=(heard,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, before)
        os.close(told)


def _end_at_the_second(heard: int) -> None:
    """Read the numbers of signals as they come, until the other end is closed."""
    interrupts = 0
    while signals := os.read(heard, 16):
        interrupts += signals.count(signal.SIGINT)
        if interrupts > 1:
            os._exit(EXIT_INTERRUPTED)
    os.close(heard)
