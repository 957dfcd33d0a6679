"""Checkpoints of the store: folders under `checkpoints/`, each recorded with a digest of its files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.core.hashing import folder_digest, model_digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.claims import Claims
from mipo_bench.harness.store.database import Database
from mipo_bench.harness.store.waiting import Wait

CHECKPOINTS = "checkpoints"
SCRATCH = "new-"
"""Prefix of the folders of checkpoints that are being written; the name of the owner follows (see `claims`)."""
_POLL = 0.2
"""Seconds between two checks whether another process has finished a checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model in the store: its folder, and the digest of the files that decide its answers."""

    folder: Path
    digest: str


class Checkpoints:
    """The checkpoints of one store. `used` holds the keys that were found or put since it was opened."""

    def __init__(self, folder: Path, database: Database, claims: Claims, damaged: list[str]) -> None:
        """`folder` holds all checkpoints; the name of each one that does not match its digest is added to `damaged`."""
        self.folder, self.damaged = folder, damaged
        self._database, self._claims = database, claims
        self.used: set[str] = set()

    def get(self, key: str) -> Checkpoint | None:
        """The checkpoint with this key, None if there is none. One that does not match its digest is dropped."""
        row = next(iter(self._database.execute("SELECT digest FROM checkpoints WHERE key = ?", (key,))), None)
        folder = self.folder / key
        if row is None:
            return None
        if folder.is_dir() and folder_digest(folder) == row[0]:
            self.used.add(key)
            return Checkpoint(folder, model_digest(folder))
        self.damaged.append(f"checkpoint {key[:12]}")
        self.drop(key)
        return None

    def drop(self, key: str) -> None:
        """Delete a checkpoint."""
        self._database.execute("DELETE FROM checkpoints WHERE key = ?", (key,))
        _clear(self.folder / key)

    def put(self, key: str, write: Callable[[Path], None]) -> Checkpoint:
        """Let `write` fill a new folder, then move it into place. A crash before the end leaves no checkpoint.

        If another process has put the same checkpoint there in the meantime, that one is kept. A folder without a row
        in the database is replaced: there is no digest to compare its files with.
        """
        folder = self.folder / key
        with _writing(folder):
            scratch = self.scratch()
        try:
            write(scratch)  # outside of `_writing`: an OSError of a training is not one of the store
            with _writing(folder):
                self._move(key, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.used.add(key)
        return Checkpoint(folder, model_digest(folder))

    def get_or_write(self, key: str, write: Callable[[Path], None]) -> Checkpoint:
        """The checkpoint with this key, written now if it is missing; waits while another process writes it."""
        wait = Wait(self._claims)
        while True:
            if found := self.get(key):
                return found
            self._claims.need_help()
            if claimed := self._claims.take([key]):
                try:
                    return self.get(key) or self.put(key, write)
                finally:
                    self._claims.release(claimed)
            wait.sleep([key], _POLL)

    def _move(self, key: str, scratch: Path) -> None:
        content = folder_digest(scratch)
        with self._database.transaction():  # one process at a time
            known = self._database.execute("SELECT 1 FROM checkpoints WHERE key = ?", (key,))
            if not (known and (self.folder / key).is_dir()):
                self.record(key, scratch, content)

    def record(self, key: str, scratch: Path, content: str) -> None:
        """Move a whole folder with the digest `content` into place, in a transaction of the caller. Raises OSError."""
        _clear(self.folder / key)
        os.replace(scratch, self.folder / key)
        self._database.insert("INSERT OR REPLACE", CHECKPOINTS, [(key, content)])

    def scratch(self) -> Path:
        """A new scratch folder, which `store gc` removes if this process dies. Raises OSError."""
        return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{self._claims.owner}-", dir=self.folder))


def _clear(path: Path) -> None:
    """Remove a folder or file. Files of a folder that cannot be removed stay: `os.replace` reports them."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the checkpoint {folder}: {error}. Make room on its disk, or make it"
            " writable, and run the same command again: it continues."
        ) from error
