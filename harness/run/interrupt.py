"""Ctrl-C: the first stops the run cleanly, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 130
"""Exit code of a process that Ctrl-C stopped."""
STOPPED = "mipo-bench: stopped. The same command goes on from here."


@contextmanager
def ctrl_c_stops() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C inside the block, and end the process at the second.

    During an import, such as that of torch, the first one ends the process as well.

    Python handles the first signal between two bytecode instructions. A thread handles the second, so that it also
    works while Python is inside a long native call or waits for a lock. The store stays valid after either.
    """

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):  # libraries hide an error in their import
                os.write(2, f"{STOPPED}\n".encode())
                os._exit(EXIT_INTERRUPTED)
            frame = frame.f_back
        raise KeyboardInterrupt

    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous_handler = signal.signal(signal.SIGINT, stop)
    previous_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    threading.Thread(target=_exit_at_second_interrupt, args=(read_end,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_fd)
        signal.signal(signal.SIGINT, previous_handler)
        os.close(write_end)


def _exit_at_second_interrupt(read_end: int) -> None:
    """Read signal numbers from the pipe until its write end is closed."""
    interrupts = 0
    while signals := os.read(read_end, 16):
        interrupts += signals.count(signal.SIGINT)
        if interrupts > 1:
            os._exit(EXIT_INTERRUPTED)
    os.close(read_end)
