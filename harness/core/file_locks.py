"""File locks (`flock`) for the run store.

The operating system releases a lock when its process ends, even by `kill -9`, so that no lock needs a time-out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
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
            if _same(self._file, path):  # else another process took it for the lock of a dead process and deleted it
                return
            os.close(self._file)

    def release(self) -> None:
        """Delete the file and release the lock."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def is_held(path: Path) -> bool:
    """Whether a running process holds the lock on this file."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two checks at once do not collide
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on a file that is not deleted afterwards; waits without a limit. Raises OSError.

    `waiting` is called before a wait.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def hold_until_exit(folder: Path) -> None:
    """Hold a shared lock on a folder until this process ends. Raises OSError."""
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)


def is_free(folder: Path) -> bool:
    """Whether no process holds a lock on this folder. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(opened)
    return True


def startup_lock(store: Path) -> AbstractContextManager[None]:
    """Keep other processes from starting work on the store in this folder. Raises OSError."""
    return exclusive(store / ".checking")


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
