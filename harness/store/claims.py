"""Claims of processes on keys of one store, so that several processes never compute the same key.

A claim is a row that names its owner; an owner is a file that the process keeps locked. The operating system releases
the lock when the process ends, in whatever way, so that the claims of a dead process are free at once, without a
time-out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from mipo_bench.harness.core.file_locks import Lock, is_held
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.database import Database

_PARTS = 2
"""A process claims its share of the remaining keys, divided by this: the last parts are small, and waits short."""
SMALLEST_SHARE = 64
"""Least number of keys that a process claims at a time, where there are so many for each."""
_PATIENCE = 60.0
OWNERS = "owners"


def live_owners(store: Path) -> list[str]:
    """The owner names of the processes that work on the store in this folder."""
    folder = store / OWNERS
    return sorted(path.name for path in folder.iterdir() if is_held(path)) if folder.is_dir() else []


def process_id(owner: str) -> int:
    """The process id in an owner name."""
    return int(owner.partition("-")[0])


def process_list_text(owners: Sequence[str]) -> str:
    """The process ids of the owners in words: `processes 17, 23`."""
    return f"process{'es' * (len(owners) != 1)} {', '.join(str(process_id(owner)) for owner in owners)}"


class Claims:
    """The claims of one process on one store. Others see the process from `join`, or its first claim, to `leave`."""

    def __init__(self, folder: Path, db: Database) -> None:
        """`folder` is the folder of the store."""
        self._store, self._folder, self._db = folder, folder / OWNERS, db
        self._lock: Lock | None = None
        self.processes = 1
        """Number of processes that were started together; if several, each claims a part of the work at a time."""
        self.alone = False
        """Whether no other process is at the same keys, so that this one claims all of them at once."""
        self.call_help: Callable[[], None] | None = None
        """Starts other processes, where there is work for them."""
        self.say: Callable[[str], None] = lambda _: None
        """Shows a line to the user."""
        self.patience = _PATIENCE
        """Seconds of a wait for other processes after which one that is stopped is named."""

    @property
    def owner(self) -> str:
        """The owner name of this process: its id and a random suffix."""
        return self.join().path.name

    def join(self) -> Lock:
        """Show other processes that this one works on the store. Raises StorageError."""
        if self._lock is None:
            try:
                self._folder.mkdir(exist_ok=True)
                self._lock = Lock(self._folder / f"{os.getpid()}-{uuid4().hex[:12]}")
            except OSError as error:
                raise StorageError(
                    f"cannot lock {self._folder}: {error}. Choose another with --set store=DIR."
                ) from error
        return self._lock

    def leave(self) -> None:
        """Release every claim; other processes no longer see this one."""
        if self._lock is not None:
            self._db.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
            self._lock.release()
            self._lock = None

    def others(self) -> list[str]:
        """The owner names of the other processes that work on the store."""
        me = self._lock.path.name if self._lock else None
        return [name for name in live_owners(self._store) if name != me]

    def take(self, keys: Sequence[str], most: int | None = None) -> list[str]:
        """Claim the first keys that no other process has claimed, at most `most` of them; returns the claimed keys."""
        with self._db.transaction():
            taken = self._claimed_by_others()
            free = [key for key in keys if key not in taken][:most]
            self._db.insert("INSERT OR REPLACE", "claims", [(key, self.owner) for key in free])
        return free

    def release(self, keys: Sequence[str]) -> None:
        """Release the claims on these keys."""
        with self._db.transaction():
            for key in keys:
                self._db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self.owner))

    def need_help(self, keys: int = SMALLEST_SHARE + 1) -> None:
        """Start the other processes before so many keys are computed, unless one would take them all at once."""
        if keys > SMALLEST_SHARE and self.call_help is not None:
            call, self.call_help = self.call_help, None
            call()

    def share_size(self, left: int, at_first: int) -> int:
        """Number of keys that one process should claim at a time when `left` remain of those that were missing first.

        Few keys are divided evenly: one process would take all of them otherwise, and the others would wait.
        """
        if self.processes == 1 or self.alone:
            return left
        smallest = min(SMALLEST_SHARE, math.ceil(at_first / self.processes))
        return max(smallest, left // (_PARTS * self.processes))

    def forget_dead(self) -> list[str]:
        """Delete the claims and lock files of dead processes; returns their owner names."""
        names = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        dead = sorted(names - {*live_owners(self._store)})
        for name in dead:
            self._db.execute("DELETE FROM claims WHERE owner = ?", (name,))
            (self._folder / name).unlink(missing_ok=True)
        return dead

    def _claimed_by_others(self) -> set[str]:
        """The keys that other running processes have claimed."""
        rows = self._db.execute("SELECT key, owner FROM claims WHERE owner != ?", (self.owner,))
        alive = {owner for owner in {owner for _, owner in rows} if is_held(self._folder / owner)}
        return {key for key, owner in rows if owner in alive}

    def holders(self, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Owner name of another process -> those of the keys that it has claimed."""
        wanted, found = set(keys), dict[str, list[str]]()
        rows = self._db.execute("SELECT key, owner FROM claims WHERE owner != ? ORDER BY owner, key", (self.owner,))
        for key, owner in rows:
            if key in wanted:
                found.setdefault(owner, []).append(key)
        return found
