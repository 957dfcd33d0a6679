"""Opens a store for a run. A damaged database is renamed, and its readable rows are copied to a new one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.file_locks import startup_lock
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.checkpoints import CHECKPOINTS
from mipo_bench.harness.store.claims import live_owners, process_list_text
from mipo_bench.harness.store.database import FILE, ROWS, DamagedDatabaseError, Database, has_database
from mipo_bench.harness.store.run_store import Store

_MAGIC = b"SQLite format 3\0"
_TABLES = (*ROWS, CHECKPOINTS, "runs")
_WITH_DIGEST = {*ROWS, "runs"}
"""Tables whose rows hold their own digest. A checkpoint's digest is compared with its files when it is used."""


def open_for_run(folder: Path) -> Store:
    """Open a store for a run, and join the processes that work on it (see `claims`).

    A damaged database is renamed and listed in `damaged`. Raises StorageError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with startup_lock(folder):  # one process checks; no other has begun its work
            store = _checked(folder)
            store.claims.join()
            store.claims.forget_dead()
    except OSError as error:
        raise StorageError(
            f"cannot open the run store {folder}: {error}. Choose another with --set store=DIR."
        ) from error
    return store


def stored_memo(folder: Path, key: str) -> Any | None:
    """The memo under a key; None where there is none, no store, or one that `open_for_run` has to repair or refuse."""
    if not has_database(folder):
        return None
    try:
        with closing(Store(folder)) as store:
            return store.memo(key)
    except StorageError:
        return None


def _checked(folder: Path) -> Store:
    try:
        store = Store(folder)
        try:
            store.database.check()
        except DamagedDatabaseError:
            store.close()
            raise
    except DamagedDatabaseError:
        outcome = rescue(folder)
        store = Store(folder)
        store.damaged.append(f"{FILE} ({outcome})")
    return store


def rescue(folder: Path) -> str:
    """Rename `store.sqlite` to a name with `damaged` in it, and copy its sound rows to a new file.

    Returns a sentence about the outcome. Raises StorageError while another process works on the store, or if the folder
    cannot be written to.
    """
    if others := live_owners(folder):
        raise StorageError(
            f"a run is at work on the damaged store {folder} ({process_list_text(others)}). End it first."
        )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    names = (f"{FILE}.damaged-{stamp}{more}" for more in chain([""], (f"-{n}" for n in count(2))))
    aside = next(path for name in names if not (path := folder / name).exists())
    try:
        for ending in ("", "-wal", "-shm"):
            if (folder / f"{FILE}{ending}").exists():
                (folder / f"{FILE}{ending}").rename(f"{aside}{ending}")
        with closing(Database(folder)) as db, _full_length(aside) as readable:
            saved = {table: _copy(readable, db, table) for table in _TABLES}
    except OSError as error:
        raise StorageError(f"cannot put the damaged store {folder / FILE} aside: {error}.") from error
    counts = ", ".join(f"{count} {table}" for table, count in saved.items())
    return f"the damaged database was put aside as {aside.name}; saved from it: {counts}"


def _copy(aside: Path, db: Database, table: str) -> int:
    """Copy the readable rows that match their digest; returns the number of rows."""
    with db.transaction():
        for row in _readable_rows(aside, table):
            if table not in _WITH_DIGEST or digest(row[:-1]) == row[-1]:
                db.insert("INSERT OR IGNORE", table, [row])
    return int(db.execute(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - our own tables


@contextmanager
def _full_length(aside: Path) -> Iterator[Path]:
    """The file itself or, if it is truncated, a copy that zeros extend to its stated size, which SQLite requires."""
    with aside.open("rb") as file:
        head = file.read(32)
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    if not head.startswith(_MAGIC) or aside.stat().st_size >= page * pages:
        yield aside
        return
    with tempfile.TemporaryDirectory(dir=aside.parent) as scratch:
        copy = Path(shutil.copy(aside, scratch))
        os.truncate(copy, page * pages)
        yield copy


def _readable_rows(aside: Path, table: str) -> Iterator[tuple[object, ...]]:
    """The rows of a damaged file from both ends, as far as SQLite can read them from each."""
    first = 2 if table == "runs" else 1  # runs by date: `store ls` lists them in the order of insertion
    for order in ("", " DESC"):
        try:
            with closing(sqlite3.connect(aside)) as old:
                yield from old.execute(f"SELECT * FROM {table} ORDER BY {first}{order}")  # noqa: S608 - our own tables
        except sqlite3.Error:
            continue
        return
