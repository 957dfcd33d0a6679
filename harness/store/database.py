"""The SQLite file of a run store: its tables, the upgrade of older schemas, and its errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.file_locks import exclusive
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import StorageError

STORE_SCHEMA = 4
"""2 added the keys that each run used, digests of runs, and claims; 3 notes on stored answers; 4 memos, and
`greedy` and `samples` in an object in place of the list of `option_logprobs`."""
FILE = "store.sqlite"
ROWS = ("responses", "likelihoods", "verdicts", "memos")
"""Tables of results. The first column of a row is its key, the last one its digest."""
_TABLES = (
    """CREATE TABLE IF NOT EXISTS responses (
        key TEXT PRIMARY KEY, text TEXT NOT NULL, n_prompt INTEGER NOT NULL, n_tokens INTEGER NOT NULL,
        finish TEXT NOT NULL, option_logprobs TEXT, digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS likelihoods (
        key TEXT PRIMARY KEY, logprob REAL NOT NULL, n_tokens INTEGER NOT NULL, greedy INTEGER NOT NULL,
        digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS verdicts (
        key TEXT PRIMARY KEY, value REAL NOT NULL, text TEXT NOT NULL, tries INTEGER NOT NULL, digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS memos (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS checkpoints (key TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS runs (
        id TEXT PRIMARY KEY, created TEXT NOT NULL, report BLOB NOT NULL, keys BLOB NOT NULL, used BLOB,
        digest TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE TABLE IF NOT EXISTS notes (generator TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (generator, text))",
    "CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID",
)
_WAIT = 60.0
"""Seconds to wait while another process writes."""


class DamagedDatabaseError(StorageError):
    """SQLite can no longer read the file."""


def has_database(folder: Path) -> bool:
    """Whether a folder holds a run store."""
    return (folder / FILE).exists()


class Database:
    """One connection to the file. Every SQLite error becomes a StorageError that says what to do."""

    def __init__(self, folder: Path, copy_of: Path | None = None) -> None:
        """Open `store.sqlite` in the folder; create or upgrade it if needed. Raises StorageError.

        Messages name the folder, or the store `copy_of` whose copy it holds.
        """
        self.folder = copy_of or folder
        self._db = sqlite3.connect(folder / FILE, timeout=_WAIT, isolation_level=None)
        try:
            with exclusive(folder / ".opening"):  # SQLite does not wait for a concurrent change of the journal mode
                self.execute("PRAGMA journal_mode=WAL")
                self.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; only a power cut may
                self._upgrade()
        except BaseException:
            self._db.close()
            raise

    def execute(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return all rows of its result."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows one by one, so that memory does not grow with their number."""
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def insert(self, statement: str, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Insert rows with a `statement` such as `INSERT OR IGNORE`."""
        if not rows:
            return
        marks = ",".join("?" * len(rows[0]))
        try:
            self._db.executemany(f"{statement} INTO {table} VALUES ({marks})", rows)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction: all of its writes are kept, or none."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Let SQLite check the whole file. Raises DamagedDatabaseError."""
        found = [str(row[0]) for row in self.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise self.explain(sqlite3.DatabaseError(found[0]), sqlite3.SQLITE_CORRUPT)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def explain(self, error: sqlite3.Error, code: int | None = None) -> StorageError:
        """The error as a message with a remedy. `code` is the SQLite error code, by default the error's own."""
        code = code or getattr(error, "sqlite_errorcode", None) or 0
        where = f"the run store {self.folder}"
        match code & 0xFF:
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return DamagedDatabaseError(
                    f"{where} is damaged ({error}). `mipo-bench store verify --drop --store {self.folder}` puts the"
                    " file aside and copies its readable rows to a new one; the next run computes the rest again."
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return StorageError(
                    f"{where} cannot be written to ({error}). Repair its permissions, or choose another with"
                    " --set store=DIR."
                )
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                return StorageError(
                    f"cannot write to {where} ({error}). All earlier results are kept: make room on its disk, and the"
                    " same command continues from there."
                )
            case sqlite3.SQLITE_BUSY:
                return StorageError(
                    f"{where} has been locked by another process for {_WAIT:.0f} seconds ({error}). The files in"
                    f" {self.folder / 'owners'} begin with the ids of the processes at work; one that is stopped goes"
                    " on after `kill -CONT PID`."
                )
        return StorageError(f"cannot use {where} ({error}). Choose another with --set store=DIR.")

    def _upgrade(self) -> None:
        """Create the tables, or upgrade those of an older version."""
        version = self.execute("PRAGMA user_version")[0][0]
        if version > STORE_SCHEMA:
            raise StorageError(
                f"the store {self.folder} was written by a newer mipo-bench (store schema {version}, this one knows"
                f" {STORE_SCHEMA}). Upgrade, or choose another folder with --set store=DIR."
            )
        tables = self.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")[0][0]
        if version == STORE_SCHEMA and tables == len(_TABLES):
            return
        with self.transaction():
            if version == 1:
                self._from_1()
            for table in _TABLES:
                self.execute(table)
            self.execute(f"PRAGMA user_version={STORE_SCHEMA}")

    def _from_1(self) -> None:
        """Add the columns that schema 1 lacks. Its runs do not say which checkpoints and pairs they used."""
        self.execute("ALTER TABLE runs ADD COLUMN used BLOB")
        self.execute("ALTER TABLE runs ADD COLUMN digest TEXT NOT NULL DEFAULT ''")
        for row in self.execute("SELECT id, created, report, keys, used FROM runs"):
            self.execute("UPDATE runs SET digest = ? WHERE id = ?", (digest(row), row[0]))
