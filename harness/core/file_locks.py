"""File locks that end with their process: no clock, no time-out, nothing left to expire after `kill -9`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


class Lock:
    """An exclusive lock on a file of its own, which is deleted when the lock is released."""

    def __init__(self, path: Path) -> None:
        """Create the file and lock it. Raises OSError."""
        self.path = path
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if _same(self._file, path):  # else somebody took it for a dead one's and deleted it in between
                return
            os.close(self._file)

    def release(self) -> None:
        """Delete the file and let go."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on this file."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look at once do not see each other
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on a file that stays where it is, waiting for it as long as it takes. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def startup_lock(store: Path) -> AbstractContextManager[None]:
    """Hold off processes that begin to work on the store in this folder. Raises OSError."""
    return exclusive(store / ".checking")


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
