"""A stand-in for the worker that loads no library: it says what the environment variable SAYS holds, then ends.

END is the way in which the second process ends: an exit code, a signal, or not at all, and without hearing that its
standard input is closed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from mipo_bench.harness.training.distributed.events import Started, send


def end(how: str) -> None:
    if how == "never":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()
    if how in signal.Signals.__members__:
        os.kill(os.getpid(), signal.Signals[how])
    sys.exit(int(how))


if __name__ == "__main__":
    rank, said = int(os.environ["RANK"]), Path(sys.argv[1]).with_name("said")
    send(Started(rank, os.getpid()), 1)
    if rank == 0:
        os.write(1, os.environ.get("SAYS", "").encode())
        said.touch()
        threading.Event().wait()  # for the other process, as in a training
    while not said.exists():  # the first process is ended with the second, however late it started
        time.sleep(0.01)
    end(os.environ["END"])
