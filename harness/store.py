"""The run store: responses in SQLite, checkpoints as folders beside it.

Everything is found by a content key, a hash over all that can change it, so that nothing is ever computed twice
and a changed input is simply another key. Each row carries a digest of its content; a damaged row or checkpoint is
named in `damaged`, dropped, and computed again.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.provenance import digest, folder_digest, model_digest
from mipo_bench.harness.types import Likelihood, Response, Verdict

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, n_prompt INTEGER NOT NULL, n_tokens INTEGER NOT NULL,
    finish TEXT NOT NULL, option_logprobs TEXT, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS likelihoods (
    key TEXT PRIMARY KEY, logprob REAL NOT NULL, n_tokens INTEGER NOT NULL, greedy INTEGER NOT NULL,
    digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY, value REAL NOT NULL, text TEXT NOT NULL, tries INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (key TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, created TEXT NOT NULL, report BLOB NOT NULL, keys BLOB NOT NULL);
"""
_BATCH = 500
"""SQLite's default limit on variables in a statement is 999 in old builds."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model in the store: its folder, and the digest of what in it decides its answers."""

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A finished run. `id` is the digest of its report, `keys` holds item -> response key for each arm of it."""

    id: str
    created: str
    report: str
    keys: Sequence[Mapping[str, str]]


class Store:
    """One folder: `store.sqlite` and `checkpoints/`. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Open the store, creating it if needed. Raises StorageError."""
        self.folder = folder
        self.damaged: list[str] = []
        try:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
            self._db = sqlite3.connect(folder / "store.sqlite", timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise StorageError(
                    f"the store {folder} was written by a newer mipo-bench (store schema {version}, this one knows"
                    f" {SCHEMA}). Upgrade, or choose another folder with --set store=DIR."
                )
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={SCHEMA}")
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"cannot open the run store {folder}: {error}. Choose another with --set store=DIR."
            ) from error

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def responses(self, keys: Sequence[str]) -> dict[str, Response]:
        """The stored responses among `keys`. Damaged rows are dropped and named in `damaged`."""
        return {row[0]: _response(row) for row in self._rows("responses", keys)}

    def put_responses(self, rows: Iterable[tuple[str, Response]]) -> None:
        """Store responses in one transaction; one that is there already stands. Raises StorageError on a full disk."""
        self._put("responses", [_row(key, response) for key, response in rows])

    def likelihoods(self, keys: Sequence[str]) -> dict[str, Likelihood]:
        """The stored likelihoods among `keys`. Damaged rows are dropped and named in `damaged`."""
        return {row[0]: Likelihood(row[1], row[2], bool(row[3])) for row in self._rows("likelihoods", keys)}

    def put_likelihoods(self, rows: Iterable[tuple[str, Likelihood]]) -> None:
        """Store likelihoods in one transaction, as `put_responses` does."""
        bare = [(key, x.logprob, x.n_tokens, int(x.greedy)) for key, x in rows]
        self._put("likelihoods", [(*row, digest(row)) for row in bare])

    def verdicts(self, keys: Sequence[str]) -> dict[str, Verdict]:
        """The stored verdicts among `keys`. Damaged rows are dropped and named in `damaged`."""
        return {row[0]: Verdict(row[1], row[2], row[3]) for row in self._rows("verdicts", keys)}

    def put_verdict(self, key: str, verdict: Verdict) -> None:
        """Store one verdict at once: judges are slow and may be paid for. One that could not be read is refused."""
        if verdict.value is None:
            raise ValueError("a verdict that could not be read is never stored")
        row = (key, float(verdict.value), verdict.text, verdict.tries)
        self._put("verdicts", [(*row, digest(row))])

    def _rows(self, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The undamaged rows with these keys; key first, digest last."""
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            query = f"SELECT * FROM {table} WHERE key IN ({marks})"  # noqa: S608 - our own table, and question marks
            for row in self._execute(query, part):
                if digest(row[:-1]) == row[-1]:
                    yield row
                else:
                    self.damaged.append(f"{table.removesuffix('s')} {row[0][:12]}")
                    self._execute(f"DELETE FROM {table} WHERE key = ?", (row[0],))  # noqa: S608 - our own table

    def _put(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            marks = ",".join("?" * len(rows[0]))
            with self._transaction():
                self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own

    def checkpoint(self, key: str) -> Checkpoint | None:
        """The checkpoint with this key, after its files have been held against their digest."""
        row = next(iter(self._execute("SELECT digest FROM checkpoints WHERE key = ?", (key,))), None)
        folder = self.folder / "checkpoints" / key
        if row is None:
            return None
        if folder.is_dir() and folder_digest(folder) == row[0]:
            return Checkpoint(folder, model_digest(folder))
        self.damaged.append(f"checkpoint {key[:12]}")
        shutil.rmtree(folder, ignore_errors=True)
        self._execute("DELETE FROM checkpoints WHERE key = ?", (key,))
        return None

    def put_checkpoint(self, key: str, write: Callable[[Path], None]) -> Checkpoint:
        """Let `write` fill a new folder, then move it into place. A crash before the end leaves no checkpoint.

        Where another process has put the same checkpoint there in the meantime, that one stands.
        """
        folder = self.folder / "checkpoints" / key
        try:
            scratch = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
            try:
                write(scratch)
                _move(scratch, folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            raise StorageError(f"cannot write the checkpoint {folder}: {error}.") from error
        self._execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (key, folder_digest(folder)))
        return Checkpoint(folder, model_digest(folder))

    def put_run(self, run: StoredRun) -> None:
        """Remember a finished run, so that it can be shown, compared and scored again."""
        packed = [zlib.compress(text.encode()) for text in (run.report, json.dumps(list(run.keys)))]
        self._execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", (run.id, run.created, *packed))

    def runs(self, prefix: str = "") -> list[StoredRun]:
        """The runs whose id begins with `prefix`, the oldest first. A damaged one is named in `damaged` and dropped."""
        found = []
        query = "SELECT * FROM runs WHERE substr(id, 1, ?) = ? ORDER BY created, id"
        for name, created, report, keys in self._execute(query, (len(prefix), prefix)):
            try:
                texts = [zlib.decompress(blob).decode() for blob in (report, keys)]
                found.append(StoredRun(name, created, texts[0], json.loads(texts[1])))
            except (zlib.error, ValueError):
                self.damaged.append(f"run {name[:12]}")
                self._execute("DELETE FROM runs WHERE id = ?", (name,))
        return found

    def _execute(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"the run store {self.folder} failed: {error}.") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StorageError(f"cannot write to the run store {self.folder}: {error}.") from error


def _move(scratch: Path, folder: Path) -> None:
    try:
        os.replace(scratch, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _row(key: str, r: Response) -> tuple[object, ...]:
    logprobs = None if r.option_logprobs is None else json.dumps(r.option_logprobs)
    row = (key, r.text, r.n_prompt, r.n_tokens, r.finish, logprobs)
    return (*row, digest(row))


def _response(row: Sequence[Any]) -> Response:
    _, text, n_prompt, n_tokens, finish, logprobs, _ = row
    return Response(text, n_prompt, n_tokens, finish, None if logprobs is None else tuple(json.loads(logprobs)))
