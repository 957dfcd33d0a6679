"""Removes all results from a run store that no kept run used (`mipo-bench store gc`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.core.file_locks import startup_lock
from mipo_bench.harness.core.files import folder_size
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.checkpoints import CHECKPOINTS, SCRATCH
from mipo_bench.harness.store.claims import process_list_text
from mipo_bench.harness.store.database import ROWS
from mipo_bench.harness.store.made_models import drop_unused
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun, run_from_row
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH


@dataclass(frozen=True, slots=True)
class Removed:
    """The entries that were (or would be) removed: counts by kind, bytes of folders, runs of unknown use."""

    counts: dict[str, int]
    folder_bytes: int
    unknown: int
    """Number of kept runs of an older store that do not say what they used. If there is one, no result is removed."""


def collect(store: Store, keep: int | None, *, dry_run: bool) -> Removed:
    """Keep the latest `keep` runs (None: all) and all results that they used, and remove the rest.

    Of the dequantised models those of the kept runs stay, and those that a process is using, such as a judge.
    Results of an interrupted run belong to no run yet, and are removed too. No run can begin in the meantime. Raises
    StorageError while a run is at work.
    """
    with startup_lock(store.folder):
        return _collect(store, keep, dry_run=dry_run)


def _collect(store: Store, keep: int | None, *, dry_run: bool) -> Removed:
    others = store.claims.others()
    if others and not dry_run:
        raise StorageError(
            f"a run is at work on the store {store.folder} ({process_list_text(others)}), and its results"
            " belong to no run yet. Wait until it ends."
        )
    runs = _sound_runs(store)
    kept = runs if keep is None else runs[max(0, len(runs) - keep) :]
    gone = [run.id for run in runs[: len(runs) - len(kept)]]
    unknown = sum(run.used is None for run in kept)
    used = None if unknown else {table: _used(kept, table) for table in (*ROWS, CHECKPOINTS)}
    counts, folders = {"runs": len(gone)}, _stale_folders(store, used)
    for table in ROWS if used else ():
        counts[table] = _rows(store, table, used[table], dry_run=dry_run) if used else 0
    counts[CHECKPOINTS] = sum(not f.name.startswith(SCRATCH) for f in folders)
    counts["unfinished checkpoints"] = len(folders) - counts[CHECKPOINTS]
    size = sum(map(folder_size, folders))
    if not unknown and (models := drop_unused(store.folder, _base_models(kept), dry_run=dry_run)):
        counts["dequantised models"] = len(models)
        size += sum(model.size for model in models)
    if not dry_run:
        _remove(store, gone, folders)
    return Removed(counts, size, unknown)


def _sound_runs(store: Store) -> list[StoredRun]:
    """All runs in the order in which they were recorded.

    Raises StorageError for a damaged one, because the results that it used are unknown.
    """
    rows = store.database.execute("SELECT * FROM runs ORDER BY rowid")
    runs = [(str(row[0]), run_from_row(row)) for row in rows]
    if damaged := [name[:RUN_ID_LENGTH] for name, run in runs if run is None]:
        raise StorageError(
            f"run {', '.join(damaged)} is damaged, so that the results that it used are unknown."
            " `mipo-bench store verify --drop` removes the run."
        )
    return [run for _, run in runs if run is not None]


def _used(runs: Iterable[StoredRun], table: str) -> set[str]:
    found = {key for run in runs for key in (run.used or {}).get(table, ())}
    return found | {key for run in runs for arm in run.keys for key in arm.values()} if table == "responses" else found


def _base_models(runs: Iterable[StoredRun]) -> set[str]:
    """The digests of the runs' base models."""
    return {str(json.loads(run.report)["model"]["digest"]) for run in runs}


def _stale_folders(store: Store, used: dict[str, set[str]] | None) -> list[Path]:
    """Checkpoints that no run used, and scratch folders of dead processes."""
    alive = tuple(f"{SCRATCH}{name}-" for name in store.claims.others())

    def is_stale(name: str) -> bool:
        if name.startswith(SCRATCH):
            return not name.startswith(alive)
        return used is not None and name not in used[CHECKPOINTS]

    return [f for f in sorted((store.folder / CHECKPOINTS).iterdir()) if f.is_dir() and is_stale(f.name)]


def _rows(store: Store, table: str, used: set[str], *, dry_run: bool) -> int:
    """Delete the rows of a table whose keys are not in `used`, or only count them."""
    db = store.database
    db.execute("CREATE TEMP TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM kept")
    db.insert("INSERT", "kept", [(key,) for key in used])
    where = f"FROM {table} WHERE key NOT IN (SELECT key FROM kept)"  # noqa: S608 - our own tables
    count = int(db.execute(f"SELECT count(*) {where}")[0][0])
    if not dry_run:
        db.execute(f"DELETE {where}")
    return count


def _remove(store: Store, runs: Iterable[str], folders: Iterable[Path]) -> None:
    for name in runs:
        store.database.execute("DELETE FROM runs WHERE id = ?", (name,))
    for folder in folders:
        if folder.name.startswith(SCRATCH):
            shutil.rmtree(folder)
        else:
            store.checkpoints.drop(folder.name)
    store.claims.forget_dead()
    store.database.execute("VACUUM")
    store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
