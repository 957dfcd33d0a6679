"""Who computes what: claims that several processes lay to keys of one store, so that nothing is computed twice.

A claim is a row that names its owner; an owner is a file whose lock the process holds. The operating system ends the
lock with the process, however it ends, so that claims of a dead process are free at once and no clock is asked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from mipo_bench.harness.core.file_locks import Lock, is_held
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.database import Database

_PARTS = 2
"""Who takes a part leaves so many as large for each process: the last ones are small, and nobody waits for long."""
_SMALLEST = 64
OWNERS = "owners"


def live_owners(store: Path) -> list[str]:
    """The processes that are at work on the store in this folder."""
    folder = store / OWNERS
    return sorted(path.name for path in folder.iterdir() if is_held(path)) if folder.is_dir() else []


def process_list_text(owners: Sequence[str]) -> str:
    """Such processes in words, as the user's own tools number them: `processes 17, 23`."""
    return f"process{'es' * (len(owners) != 1)} {', '.join(owner.partition('-')[0] for owner in owners)}"


class Claims:
    """The claims of one process on one store. It takes part from its first claim, or from `join`, until `leave`."""

    def __init__(self, folder: Path, db: Database) -> None:
        """`folder` is that of the store."""
        self._store, self._folder, self._db = folder, folder / OWNERS, db
        self._lock: Lock | None = None
        self.processes = 1
        """How many processes were started together to share the work; each then takes a part at a time."""

    @property
    def owner(self) -> str:
        """The name of this process among the owners of claims."""
        return self.join().path.name

    def join(self) -> Lock:
        """Take part, so that others see that this process is at work on the store. Raises StorageError."""
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
        """Give up every claim."""
        if self._lock is not None:
            self._db.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
            self._lock.release()
            self._lock = None

    def others(self) -> list[str]:
        """Other processes that are at work on the store."""
        me = self._lock.path.name if self._lock else None
        return [name for name in live_owners(self._store) if name != me]

    def take(self, keys: Sequence[str], most: int | None = None) -> list[str]:
        """Claim the first keys that nobody else has claimed, at most so many; those that are claimed now."""
        with self._db.transaction():
            taken = self._taken()
            free = [key for key in keys if key not in taken][:most]
            self._db.insert("INSERT OR REPLACE", "claims", [(key, self.owner) for key in free])
        return free

    def release(self, keys: Sequence[str]) -> None:
        """Give these claims up."""
        with self._db.transaction():
            for key in keys:
                self._db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self.owner))

    def share_size(self, left: int) -> int:
        """How many of the keys that are left one process should take at a time."""
        return left if self.processes == 1 else max(_SMALLEST, left // (_PARTS * self.processes))

    def forget_dead(self) -> list[str]:
        """Delete the claims and lock files of processes that are gone; their names."""
        names = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        dead = sorted(names - {*live_owners(self._store)})
        for name in dead:
            self._db.execute("DELETE FROM claims WHERE owner = ?", (name,))
            (self._folder / name).unlink(missing_ok=True)
        return dead

    def _taken(self) -> set[str]:
        """Keys that other living processes have claimed."""
        rows = self._db.execute("SELECT key, owner FROM claims WHERE owner != ?", (self.owner,))
        alive = {owner for owner in {owner for _, owner in rows} if is_held(self._folder / owner)}
        return {key for key, owner in rows if owner in alive}
