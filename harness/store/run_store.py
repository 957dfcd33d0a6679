"""The run store: responses, likelihoods, verdicts, memos and runs in SQLite, checkpoints as folders beside it.

The key of a result is a hash of everything that can change it: no result is computed twice, and a changed input has
another key. Each row carries a digest of its content; a damaged row or checkpoint is listed in `damaged`, dropped, and
computed again.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.protocols import Likelihood, Verdict
from mipo_bench.harness.store.checkpoints import CHECKPOINTS, Checkpoints
from mipo_bench.harness.store.claims import Claims
from mipo_bench.harness.store.database import Database
from mipo_bench.harness.store.file_system import check_local
from mipo_bench.harness.store.runs import StoredRun, row_of_run, run_from_row
from mipo_bench.harness.types import Response

_BATCH = 500
"""Keys in one statement; old builds of SQLite allow 999 variables."""


def make_folder(folder: Path) -> None:
    """Create the folder of a store, which git ignores. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")


class Store:
    """One folder: `store.sqlite` and `checkpoints/`. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Open the store, creating it if needed. Raises StorageError."""
        check_local(folder)
        self.folder = folder
        self.damaged: list[str] = []
        self._used: dict[str, set[str]] = {}
        try:
            make_folder(folder)
            (folder / CHECKPOINTS).mkdir(exist_ok=True)
            self.database = Database(folder)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"cannot open the run store {folder}: {error}. Choose another with --set store=DIR."
            ) from error
        self.claims = Claims(folder, self.database)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS, self.database, self.claims, self.damaged)

    def close(self) -> None:
        """Release all claims and close the database."""
        self.claims.leave()
        self.database.close()

    @property
    def used(self) -> dict[str, list[str]]:
        """Table -> keys that were found or put since the store was opened."""
        used = self._used | ({CHECKPOINTS: self.checkpoints.used} if self.checkpoints.used else {})
        return {table: sorted(keys) for table, keys in sorted(used.items())}

    def responses(self, keys: Sequence[str]) -> dict[str, Response]:
        """The stored responses among `keys`. Damaged rows are dropped and listed in `damaged`."""
        return {row[0]: _response_from_row(row) for row in self._rows("responses", keys)}

    def text_bytes(self, keys: Sequence[str]) -> int:
        """The UTF-8 bytes of the distinct responses among `keys`, at most 500 of which count: an estimate of a size."""
        marks = ",".join("?" * len(keys[:_BATCH]))
        distinct = f"SELECT DISTINCT CAST(text AS BLOB) AS text FROM responses WHERE key IN ({marks})"  # noqa: S608
        query = f"SELECT TOTAL(LENGTH(text)) FROM ({distinct})"  # noqa: S608 - our own table, and question marks
        return int(self.database.execute(query, keys[:_BATCH])[0][0])

    def put_responses(self, rows: Iterable[tuple[str, Response]]) -> None:
        """Store responses in one transaction; existing rows are kept. Raises StorageError on a full disk."""
        self._put("responses", [_response_row(key, response) for key, response in rows])

    def likelihoods(self, keys: Sequence[str]) -> dict[str, Likelihood]:
        """The stored likelihoods among `keys`. Damaged rows are dropped and listed in `damaged`."""
        return {row[0]: Likelihood(row[1], row[2], bool(row[3])) for row in self._rows("likelihoods", keys)}

    def put_likelihoods(self, rows: Iterable[tuple[str, Likelihood]]) -> None:
        """Store likelihoods in one transaction, as `put_responses` does."""
        contents = [(key, x.logprob, x.n_tokens, int(x.greedy)) for key, x in rows]
        self._put("likelihoods", [(*row, digest(row)) for row in contents])

    def put_notes(self, generator: str, texts: Sequence[str]) -> None:
        """Store notes for the report on a generator's answers; `generator` is its digest."""
        if texts:
            with self.database.transaction():
                self.database.insert("INSERT OR IGNORE", "notes", [(generator, text) for text in texts])

    def notes(self, generator: str) -> list[str]:
        """All notes on this generator's answers, in the order in which they were stored."""
        rows = self.database.execute("SELECT text FROM notes WHERE generator = ? ORDER BY rowid", (generator,))
        return [str(text) for (text,) in rows]

    def verdicts(self, keys: Sequence[str]) -> dict[str, Verdict]:
        """The stored verdicts among `keys`. Damaged rows are dropped and listed in `damaged`."""
        return {row[0]: Verdict(row[1], row[2], row[3]) for row in self._rows("verdicts", keys)}

    def put_verdict(self, key: str, verdict: Verdict) -> None:
        """Store one verdict at once, since judges are slow or cost money. Raises ValueError if its value is None."""
        if verdict.value is None:
            raise ValueError("a verdict that could not be read is never stored")
        row = (key, float(verdict.value), verdict.text, verdict.tries)
        self._put("verdicts", [(*row, digest(row))])

    def remembered(self, parts: Iterable[object], compute: Callable[[], Any]) -> Any:
        """The value under the key of these parts, as JSON has it: computed and stored unless the store has it.

        The parts must hold everything that can change the value.
        """
        key = digest(parts)
        value = self.memo(key)
        if value is None:
            value = compute()
            self.put_memo(key, value)
        return value

    def memo(self, key: str) -> Any | None:
        """The value under a key; None if there is none."""
        return next((json.loads(zlib.decompress(row[1])) for row in self._rows("memos", [key])), None)

    def put_memo(self, key: str, value: Any) -> None:
        """Store a value that JSON can write, in place of an earlier one. Raises StorageError on a full disk."""
        row = (key, zlib.compress(json.dumps(value).encode(), 1))
        self._put("memos", [(*row, digest(row))], "INSERT OR REPLACE")

    def _rows(self, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The undamaged rows with these keys; the key is the first column, the digest the last."""
        used = self._used.setdefault(table, set())
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            query = f"SELECT * FROM {table} WHERE key IN ({marks})"  # noqa: S608 - our own table, and question marks
            for row in self.database.execute(query, part):
                if digest(row[:-1]) == row[-1]:
                    used.add(row[0])
                    yield row
                else:
                    self.damaged.append(f"{table.removesuffix('s')} {str(row[0])[:12]}")
                    self.database.execute(f"DELETE FROM {table} WHERE key = ?", (row[0],))  # noqa: S608 - our own table

    def _put(self, table: str, rows: Sequence[tuple[Any, ...]], statement: str = "INSERT OR IGNORE") -> None:
        if rows:
            with self.database.transaction():
                self.database.insert(statement, table, rows)
            self._used.setdefault(table, set()).update(row[0] for row in rows)

    def put_run(self, run: StoredRun) -> None:
        """Store a finished run with the keys that it used, so that it can be shown, compared and scored again."""
        self.database.insert("INSERT OR REPLACE", "runs", [row_of_run(run, self.used)])

    def runs(self, prefix: str = "") -> list[StoredRun]:
        """The runs whose id begins with `prefix`, in the order in which they were stored, whatever their dates.

        A damaged one is left out, and stays in the store: `damaged_runs` counts them, `verify` names and drops them.
        """
        return [run for run in self._read_runs(prefix) if run is not None]

    def damaged_runs(self, prefix: str = "") -> int:
        """Number of runs whose id begins with `prefix` and whose row does not match its digest."""
        return self._read_runs(prefix).count(None)

    def _read_runs(self, prefix: str) -> list[StoredRun | None]:
        query = "SELECT * FROM runs WHERE substr(id, 1, ?) = ? ORDER BY rowid"
        return [run_from_row(row) for row in self.database.execute(query, (len(prefix), prefix))]


def _response_row(key: str, r: Response) -> tuple[object, ...]:
    row = (key, r.text, r.n_prompt, r.n_tokens, r.finish, _logprobs_as_json(r))
    return (*row, digest(row))


def _response_from_row(row: Sequence[Any]) -> Response:
    _, text, n_prompt, n_tokens, finish, stored, _ = row
    content = None if stored is None else json.loads(stored)
    found: dict[str, Any] = content if isinstance(content, dict) else {"logprobs": content}
    logprobs, greedy = (None if found.get(n) is None else tuple(found[n]) for n in ("logprobs", "greedy"))
    return Response(text, n_prompt, n_tokens, finish, logprobs, greedy, tuple(found.get("samples", ())))


def _logprobs_as_json(r: Response) -> str | None:
    """The log-probabilities as a list; an object for a response that has more than these."""
    if r.greedy is None and not r.samples:
        return None if r.option_logprobs is None else json.dumps(r.option_logprobs)
    return json.dumps({"logprobs": r.option_logprobs, "greedy": r.greedy, "samples": r.samples})
