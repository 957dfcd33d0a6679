"""Compares every row and checkpoint of a run store with its digest (`mipo-bench store verify`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.core.hashing import digest, folder_digest
from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.store.checkpoints import CHECKPOINTS
from mipo_bench.harness.store.database import ROWS
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import run_from_row
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH, parse_report

_BATCH = 500
"""Keys in one statement; old builds of SQLite allow 999 variables."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The number of entries by table, and the damaged ones as (table, key, reason)."""

    counts: dict[str, int]
    damaged: tuple[tuple[str, str, str], ...]

    @property
    def lines(self) -> list[str]:
        """A line for each damaged entry."""
        return [f"{table.removesuffix('s')} {key[:RUN_ID_LENGTH]}: {why}" for table, key, why in self.damaged]


def verify(store: Store) -> Verified:
    """Check the whole store. Raises StorageError if SQLite cannot read the file."""
    store.database.check()
    counts: dict[str, int] = {}
    damaged: list[tuple[str, str, str]] = []
    for table, check in (*((name, _row_problem) for name in ROWS), (CHECKPOINTS, _checkpoint), ("runs", _run)):
        counts[table] = 0
        for key, why in _checked(store, table, check):
            counts[table] += 1
            damaged += [(table, str(key), why)] if why else []
    return Verified(counts, tuple(damaged))


def holds(store: Store, used: Mapping[str, Sequence[str]]) -> bool:
    """Whether all these rows and checkpoints are here and undamaged; `used` is that of a run. It changes nothing."""
    for table, keys in used.items():
        check = _checkpoint if table == CHECKPOINTS else _row_problem
        for part in (keys[n : n + _BATCH] for n in range(0, len(keys), _BATCH)):
            marks = ",".join("?" * len(part))
            query = f"SELECT * FROM {table} WHERE key IN ({marks})"  # noqa: S608 - our own tables, and question marks
            rows = store.database.execute(query, part)
            if len(rows) < len(part) or any(check(store, row) for row in rows):
                return False
    return True


def drop(store: Store, found: Verified) -> None:
    """Delete the damaged entries; the next run computes them again."""
    for table, key, _ in found.damaged:
        column = "id" if table == "runs" else "key"
        if table == CHECKPOINTS:
            store.checkpoints.drop(key)
        else:
            store.database.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))  # noqa: S608 - our own tables


def _checked(store: Store, table: str, check: Any) -> Iterator[tuple[str, str]]:
    for row in store.database.each(f"SELECT * FROM {table}"):  # noqa: S608 - our own tables
        yield row[0], check(store, row)


def _row_problem(store: Store, row: tuple[Any, ...]) -> str:  # noqa: ARG001 - all checks are called alike
    return "" if digest(row[:-1]) == row[-1] else "its content does not match its digest"


def _checkpoint(store: Store, row: tuple[Any, ...]) -> str:
    folder = store.folder / CHECKPOINTS / str(row[0])
    if not folder.is_dir():
        return "its folder is gone"
    try:
        sound = folder_digest(folder) == row[1]
    except OSError as error:
        return f"its files cannot be read ({error})"
    return "" if sound else "its files do not match their digest"


def _run(store: Store, row: tuple[Any, ...]) -> str:  # noqa: ARG001 - all checks are called alike
    run = run_from_row(row)
    if run is None:
        return "its content does not match its digest"
    try:
        parse_report(run.report, "its report")
    except ReportError as error:
        return str(error)
    return ""
