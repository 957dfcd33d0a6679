"""The SQLite file of a run store: its tables, their versions, and how it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.file_locks import exclusive
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import StorageError

STORE_SCHEMA = 3
"""2 added what each run used, digests of runs, and claims; 3 what a report must say of stored answers."""
FILE = "store.sqlite"
ROWS = ("responses", "likelihoods", "verdicts")
"""Tables of content: the key comes first, the digest of the row last."""
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
    "CREATE TABLE IF NOT EXISTS checkpoints (key TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS runs (
        id TEXT PRIMARY KEY, created TEXT NOT NULL, report BLOB NOT NULL, keys BLOB NOT NULL, used BLOB,
        digest TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE TABLE IF NOT EXISTS notes (generator TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (generator, text))",
    "CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID",
)
_WAIT = 60.0
"""Seconds to wait for another process that is writing."""


class DamagedDatabaseError(StorageError):
    """SQLite cannot read the file any more."""


def has_database(folder: Path) -> bool:
    """Whether a folder is a run store."""
    return (folder / FILE).exists()


class Database:
    """One connection. Every error of SQLite becomes a StorageError that says what to do."""

    def __init__(self, folder: Path) -> None:
        """Open `store.sqlite` in the folder, made and brought up to date if needed. Raises StorageError."""
        self.folder = folder
        self._db = sqlite3.connect(folder / FILE, timeout=_WAIT, isolation_level=None)
        try:
            with exclusive(folder / ".opening"):  # changing the journal mode does not wait for another that does
                self.execute("PRAGMA journal_mode=WAL")
                self.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; only a power cut may
                self._upgrade()
        except BaseException:
            self._db.close()
            raise

    def execute(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; all rows of its answer."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a query; its rows one by one, so that memory does not grow with them."""
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def insert(self, statement: str, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Insert rows; `statement` is how, such as `INSERT OR IGNORE`."""
        if not rows:
            return
        marks = ",".join("?" * len(rows[0]))
        try:
            self._db.executemany(f"{statement} INTO {table} VALUES ({marks})", rows)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything in the block, or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Let SQLite go through the whole file. Raises DamagedDatabaseError."""
        found = [str(row[0]) for row in self.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise self.explain(sqlite3.DatabaseError(found[0]), sqlite3.SQLITE_CORRUPT)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def explain(self, error: sqlite3.Error, code: int | None = None) -> StorageError:
        """The error in words: what it means for the store, and what to do. `code` is SQLite's (the error's)."""
        code = code or getattr(error, "sqlite_errorcode", None) or 0
        where = f"the run store {self.folder}"
        match code & 0xFF:
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return DamagedDatabaseError(
                    f"{where} is damaged ({error}). `mipo-bench store verify --drop --store {self.folder}` puts the"
                    " file aside and saves what can be read of it; what is lost is computed again."
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return StorageError(
                    f"{where} cannot be written to ({error}). Repair its permissions, or choose another with"
                    " --set store=DIR."
                )
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                return StorageError(
                    f"cannot write to {where} ({error}). What was stored before is kept: make room on its disk, and the"
                    " same command goes on from there."
                )
            case sqlite3.SQLITE_BUSY:
                return StorageError(f"{where} has been locked by another process for {_WAIT:.0f} seconds ({error}).")
        return StorageError(f"cannot use {where} ({error}). Choose another with --set store=DIR.")

    def _upgrade(self) -> None:
        """Make the tables, or bring those of an older version up to date."""
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
        """Runs of schema 1 do not say which checkpoints and pairs they used, and have no digest."""
        self.execute("ALTER TABLE runs ADD COLUMN used BLOB")
        self.execute("ALTER TABLE runs ADD COLUMN digest TEXT NOT NULL DEFAULT ''")
        for row in self.execute("SELECT id, created, report, keys, used FROM runs"):
            self.execute("UPDATE runs SET digest = ? WHERE id = ?", (digest(row), row[0]))
