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
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import digest, folder_digest, model_digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.protocols import Likelihood, Verdict
from mipo_bench.harness.store.claims import Claims
from mipo_bench.harness.store.database import Database
from mipo_bench.harness.types import Response

CHECKPOINTS = "checkpoints"
SCRATCH = "new-"
"""Folders of checkpoints that are being written begin like this, followed by their owner (see `claims`)."""
_POLL = 0.2
"""Seconds between two looks whether another process has finished a checkpoint."""
_BATCH = 500
"""SQLite's default limit on variables in a statement is 999 in old builds."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model in the store: its folder, and the digest of what in it decides its answers."""

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A finished run. `id` is the digest of its report, `keys` holds item -> response key for each arm of it.

    `used` names everything that it took from the store, by table; None for a run of store schema 1, which did not say.
    """

    id: str
    created: str
    report: str
    keys: Sequence[Mapping[str, str]]
    used: Mapping[str, Sequence[str]] | None = field(default=None, compare=False)


class Store:
    """One folder: `store.sqlite` and `checkpoints/`. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Open the store, creating it if needed. Raises StorageError."""
        self.folder = folder
        self.damaged: list[str] = []
        self._used: dict[str, set[str]] = {}
        try:
            (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            if not (folder / ".gitignore").exists():
                (folder / ".gitignore").write_text("*\n")
            self._db = Database(folder)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"cannot open the run store {folder}: {error}. Choose another with --set store=DIR."
            ) from error
        self.claims = Claims(folder, self._db)

    def close(self) -> None:
        """Give up all claims and close the database."""
        self.claims.leave()
        self._db.close()

    @property
    def database(self) -> Database:
        """The database itself, for what looks after the store."""
        return self._db

    @property
    def used(self) -> dict[str, list[str]]:
        """Keys of everything that was found or put here since the store was opened, by table."""
        return {table: sorted(keys) for table, keys in sorted(self._used.items())}

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

    def put_notes(self, generator: str, texts: Sequence[str]) -> None:
        """Remember what a report must say of a generator's answers; `generator` is its digest."""
        if texts:
            with self._db.transaction():
                self._db.insert("INSERT OR IGNORE", "notes", [(generator, text) for text in texts])

    def notes(self, generator: str) -> list[str]:
        """What was ever noted of this generator's answers, in that order."""
        rows = self._db.execute("SELECT text FROM notes WHERE generator = ? ORDER BY rowid", (generator,))
        return [str(text) for (text,) in rows]

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
        used = self._used.setdefault(table, set())
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            query = f"SELECT * FROM {table} WHERE key IN ({marks})"  # noqa: S608 - our own table, and question marks
            for row in self._db.execute(query, part):
                if digest(row[:-1]) == row[-1]:
                    used.add(row[0])
                    yield row
                else:
                    self.damaged.append(f"{table.removesuffix('s')} {str(row[0])[:12]}")
                    self._db.execute(f"DELETE FROM {table} WHERE key = ?", (row[0],))  # noqa: S608 - our own table

    def _put(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            with self._db.transaction():
                self._db.insert("INSERT OR IGNORE", table, rows)
            self._used.setdefault(table, set()).update(row[0] for row in rows)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """The checkpoint with this key, after its files have been held against their digest."""
        row = next(iter(self._db.execute("SELECT digest FROM checkpoints WHERE key = ?", (key,))), None)
        folder = self.folder / CHECKPOINTS / key
        if row is None:
            return None
        if folder.is_dir() and folder_digest(folder) == row[0]:
            self._used.setdefault(CHECKPOINTS, set()).add(key)
            return Checkpoint(folder, model_digest(folder))
        self.damaged.append(f"checkpoint {key[:12]}")
        self.drop_checkpoint(key)
        return None

    def drop_checkpoint(self, key: str) -> None:
        """Delete a checkpoint."""
        self._db.execute("DELETE FROM checkpoints WHERE key = ?", (key,))
        _clear(self.folder / CHECKPOINTS / key)

    def put_checkpoint(self, key: str, write: Callable[[Path], None]) -> Checkpoint:
        """Let `write` fill a new folder, then move it into place. A crash before the end leaves no checkpoint.

        Where another process has put the same checkpoint there in the meantime, that one stands. A folder that is not
        recorded is none: its files have nothing to be held against.
        """
        folder = self.folder / CHECKPOINTS / key
        with _writing(folder):
            scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{self.claims.owner}-", dir=folder.parent))
        try:
            write(scratch)  # it raises StorageError itself: what else goes wrong in a training is no matter of the disk
            with _writing(folder):
                self._move(key, scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._used.setdefault(CHECKPOINTS, set()).add(key)
        return Checkpoint(folder, model_digest(folder))

    def checkpoint_once(self, key: str, write: Callable[[Path], None]) -> Checkpoint:
        """The checkpoint with this key, written now unless it is there or another process is at it: that is awaited."""
        while True:
            if found := self.checkpoint(key):
                return found
            if taken := self.claims.take([key]):
                try:
                    return self.checkpoint(key) or self.put_checkpoint(key, write)
                finally:
                    self.claims.release(taken)
            time.sleep(_POLL)

    def _move(self, key: str, scratch: Path, folder: Path) -> None:
        content = folder_digest(scratch)
        with self._db.transaction():  # which one process at a time can be in
            if self._db.execute("SELECT 1 FROM checkpoints WHERE key = ?", (key,)) and folder.is_dir():
                return
            _clear(folder)
            os.replace(scratch, folder)
            self._db.insert("INSERT OR REPLACE", CHECKPOINTS, [(key, content)])

    def put_run(self, run: StoredRun) -> None:
        """Remember a finished run, so that it can be shown, compared and scored again, with all that it used."""
        used = self.used if run.used is None else run.used
        packed = [_pack(text) for text in (run.report, json.dumps(list(run.keys)), json.dumps(used))]
        row = (run.id, run.created, *packed)
        self._db.insert("INSERT OR REPLACE", "runs", [(*row, digest(row))])

    def runs(self, prefix: str = "") -> list[StoredRun]:
        """The runs whose id begins with `prefix`, in the order in which they were recorded, whatever their clocks said.

        A damaged one is named in `damaged` and dropped.
        """
        found = []
        query = "SELECT * FROM runs WHERE substr(id, 1, ?) = ? ORDER BY rowid"
        for row in self._db.execute(query, (len(prefix), prefix)):
            run = run_of(row)
            if run is None:
                self.damaged.append(f"run {row[0][:12]}")
                self._db.execute("DELETE FROM runs WHERE id = ?", (row[0],))
            else:
                found.append(run)
        return found


def _clear(place: Path) -> None:
    """Remove a folder, or what stands in its place; what cannot be removed stays, and is found when it is replaced."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the checkpoint {folder}: {error}. Make room on its disk, or give the right to"
            " write there, and the same command goes on."
        ) from error


def run_of(row: Sequence[Any]) -> StoredRun | None:
    """The run in a row of the table; None where the row is damaged."""
    *content, stated = row
    if digest(content) != stated:
        return None
    name, created, report, keys, used = content
    try:
        return StoredRun(
            name,
            created,
            _unpack(report),
            json.loads(_unpack(keys)),
            None if used is None else json.loads(_unpack(used)),
        )
    except (zlib.error, ValueError):
        return None


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode())


def _unpack(blob: bytes) -> str:
    return zlib.decompress(blob).decode()


def _row(key: str, r: Response) -> tuple[object, ...]:
    logprobs = None if r.option_logprobs is None else json.dumps(r.option_logprobs)
    row = (key, r.text, r.n_prompt, r.n_tokens, r.finish, logprobs)
    return (*row, digest(row))


def _response(row: Sequence[Any]) -> Response:
    _, text, n_prompt, n_tokens, finish, logprobs, _ = row
    return Response(text, n_prompt, n_tokens, finish, None if logprobs is None else tuple(json.loads(logprobs)))
