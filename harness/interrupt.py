"""Ctrl-C: once stops cleanly, twice ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130
"""The exit code of a process that Ctrl-C stopped."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C inside the block, and end the process at the next one.

    What is in the store stays: nothing there depends on a clean end.
    """

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - as signal handlers are called
        signal.signal(signal.SIGINT, end)
        raise KeyboardInterrupt

    def end(signum: int, frame: object) -> None:  # noqa: ARG001 - as signal handlers are called
        os._exit(STOPPED)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
