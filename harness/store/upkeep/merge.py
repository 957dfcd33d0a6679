"""Joins run stores into one (`mipo-bench store merge`), so that jobs that ran apart end as if they had shared a store.

A source is only read. Its SQLite file is copied first, with its write-ahead log, because a source may be read-only or
on a network file system, where SQLite must not open it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mipo_bench.harness.core.file_locks import startup_lock
from mipo_bench.harness.core.hashing import digest, folder_digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.checkpoints import CHECKPOINTS
from mipo_bench.harness.store.claims import live_owners, process_list_text
from mipo_bench.harness.store.database import FILE, ROWS, Database, has_database
from mipo_bench.harness.store.run_store import Store

_TABLES = {**dict.fromkeys((table for table in ROWS if table != "memos"), "key"), CHECKPOINTS: "key", "runs": "id"}
"""Table -> its column of keys. The last column of each is a digest. Memos stay behind, and are made again."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Merged:
    """The entries that the target lacked, by table, and the number of those that it had already."""

    added: Mapping[str, int]
    known: int


def merge(sources: Sequence[Path], target: Path) -> Merged:
    """Copy every entry of the sources that the target lacks: all of them, or none if one cannot be.

    A missing target is created. Raises StorageError for a damaged entry, for two different entries with the same key,
    while a run is at work on one of the stores, and if a file cannot be read or written.
    """
    wanted = [path for place, path in {p.resolve(): p for p in sources}.items() if place != target.resolve()]
    try:
        for source in wanted:
            _check_source(source)
        with _target(target) as store, startup_lock(store.folder):
            _check_idle(target, store.claims.others())
            scratch = store.checkpoints.scratch()
            try:
                return _Merge(store, wanted, scratch).run()
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"cannot merge into {target}: {error}. Nothing was merged.") from error


def _check_source(source: Path) -> None:
    if not has_database(source):
        raise StorageError(f"there is no run store {source}: it has no {FILE}. Name folders that runs used as stores.")
    _check_idle(source, live_owners(source))


def _check_idle(folder: Path, owners: Sequence[str]) -> None:
    if owners:
        raise StorageError(f"a run is at work on the store {folder} ({process_list_text(owners)}). Wait until it ends.")


@contextmanager
def _target(folder: Path) -> Iterator[Store]:
    """The open target. A folder that did not exist before is removed again on an error."""
    is_new = not folder.exists()
    try:
        with closing(Store(folder)) as store:
            yield store
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


class _Merge:
    """One merge. `scratch` is a folder on the target's disk."""

    def __init__(self, store: Store, sources: Sequence[Path], scratch: Path) -> None:
        self.store, self.sources, self.scratch = store, sources, scratch
        self.added: Counter[str] = Counter(dict.fromkeys(_TABLES, 0))
        self.known = 0
        self.checkpoints: dict[str, tuple[Path, str]] = {}
        """Key -> folder in its source, and digest, of the new checkpoints."""

    def run(self) -> Merged:
        """Merge in one transaction; checkpoints come last, because their copies are large."""
        with self.store.database.transaction():
            for source in self.sources:
                with _copy_of(source, self.scratch) as database:
                    for table in _TABLES:
                        self._add(table, source, database)
                    notes = database.execute("SELECT generator, text FROM notes ORDER BY rowid")
                    self.store.database.insert("INSERT OR IGNORE", "notes", notes)
            copies = {key: self._copied(*found) for key, found in self.checkpoints.items()}
            for key, (_, content) in self.checkpoints.items():
                self.store.checkpoints.record(key, copies[key], content)
        return Merged(dict(self.added), self.known)

    def _add(self, table: str, source: Path, database: Database) -> None:
        """Insert the rows that the target lacks. Raises StorageError for damage and conflicts."""
        order = "rowid" if table == "runs" else "key"  # `store ls` lists runs in the order in which they were stored
        rows = database.each(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608 - our own tables
        while batch := list(islice(rows, _BATCH)):
            known = _digests(self.store.database, table, [row[0] for row in batch])
            for row in batch:
                if table != CHECKPOINTS and digest(row[:-1]) != row[-1]:
                    raise _damaged(source, table, row[0])
                if known.get(row[0], row[-1]) != row[-1]:
                    raise self._conflict(source, table, row[0])
            new = [row for row in batch if row[0] not in known]
            self.store.database.insert("INSERT", table, new)
            self.added[table] += len(new)
            self.known += len(batch) - len(new)
            if table == CHECKPOINTS:
                self.checkpoints |= {key: (source / CHECKPOINTS / key, content) for key, content in new}

    def _copied(self, folder: Path, content: str) -> Path:
        """A copy of a checkpoint in the scratch folder, checked against its digest."""
        if not folder.is_dir():
            raise _damaged(folder.parent.parent, CHECKPOINTS, folder.name)
        copy = Path(shutil.copytree(folder, self.scratch / folder.name))
        if folder_digest(copy) != content:
            raise _damaged(folder.parent.parent, CHECKPOINTS, folder.name)
        return copy

    def _conflict(self, source: Path, table: str, key: str) -> StorageError:
        """The error for an entry that differs from the one which an earlier source, or the target, has."""
        holder = self.store.folder
        for earlier in self.sources[: self.sources.index(source)]:
            with _copy_of(earlier, self.scratch) as database:
                if _digests(database, table, [key]):
                    holder = earlier
                    break
        return StorageError(
            f"the stores {holder} and {source} have different {table} under the key {key[:12]}, whose inputs are the"
            " same: the engine or the training did not repeat itself, as a server, vLLM, or a training on a GPU may"
            " not. Nothing was merged. Leave one of the two out: the next `mipo-bench run` on the merged store computes"
            " the missing rest."
        )


def _digests(database: Database, table: str, keys: Sequence[str]) -> dict[str, str]:
    """Key -> digest of those rows that are there."""
    column, marks = _TABLES[table], ",".join("?" * len(keys))
    query = f"SELECT {column}, digest FROM {table} WHERE {column} IN ({marks})"  # noqa: S608 - our own tables
    return dict(database.execute(query, keys))


@contextmanager
def _copy_of(source: Path, scratch: Path) -> Iterator[Database]:
    """A copy of a source's database, brought to this version's schema. Raises StorageError if it is damaged."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for name in (FILE, f"{FILE}-wal"):
            if (source / name).exists():
                shutil.copyfile(source / name, Path(folder) / name)
        with closing(Database(Path(folder), copy_of=source)) as database:
            database.check()
            yield database


def _damaged(source: Path, table: str, key: str) -> StorageError:
    return StorageError(
        f"the {table.removesuffix('s')} {key[:12]} of the store {source} is damaged: its content does not match its"
        f" digest. Nothing was merged. `mipo-bench store verify --drop --store {source}` deletes what is damaged."
    )
