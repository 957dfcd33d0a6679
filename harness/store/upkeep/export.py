"""Exports stored responses with their run, task, arm and item to JSON Lines or Parquet (`mipo-bench store export`).

The rows of one run are rows of RESPONSES.jsonl (`run --model`); those of one arm are rows of a score file (`compare`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.files import whole_or_not_at_all
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import parse_report

ExportRow = Mapping[str, Any]
_BATCH = 1000
COLUMNS = (
    *("run", "created", "model", "task", "arm", "baseline", "recipe", "train_seed", "sample_seed", "noise"),
    *("item_id", "user_id", "score", "response", "n_prompt", "n_tokens", "finish", "option_logprobs", "key"),
)


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Numbers of responses: those that were written, and those that the store no longer has."""

    written: int
    missing: int


@dataclass(frozen=True, slots=True)
class ArmChoice:
    """The arms to export, by the names of their task and method; None for all."""

    task: str | None = None
    arm: str | None = None

    def takes(self, arm: ArmRecord) -> bool:
        """Whether the arm is wanted."""
        return self.task in (None, arm.task) and self.arm in (None, arm.method)


@dataclass(frozen=True, slots=True)
class _StoredArm:
    """One arm of a run, and the keys of its responses by item."""

    report: Report
    arm: ArmRecord
    keys: Mapping[str, str]


def export(store: Store, runs: Sequence[StoredRun], file: Path, choice: ArmChoice) -> ExportCounts:
    """Write a row for each response of the chosen arms of these runs. The file is complete or absent.

    Raises ConfigError for a suffix other than .jsonl and .parquet and if no arm is chosen, StorageError if the file
    cannot be written.
    """
    writers: dict[str, Callable[[Path, Iterable[ExportRow]], int]] = {".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix not in writers:
        raise ConfigError(f"cannot tell the format of {str(file)!r}: end it with {' or '.join(writers)}.")
    arms = [arm for run in runs for arm in _arms(run)]
    wanted = [stored for stored in arms if choice.takes(stored.arm)]
    if not wanted:
        names = ", ".join(dict.fromkeys(f"{stored.arm.task}/{stored.arm.method}" for stored in arms)) or "none"
        options = [f"--{name} {value}" for name, value in asdict(choice).items() if value is not None]
        raise ConfigError(f"no arm fits {' '.join(options) or 'the run'}. Arms: {names}.")
    with whole_or_not_at_all(file) as scratch:
        written = writers[file.suffix](scratch, (row for stored in wanted for row in _rows(store, stored)))
    return ExportCounts(written, sum(len(stored.keys) for stored in wanted) - written)


def _arms(run: StoredRun) -> Iterator[_StoredArm]:
    report = parse_report(run.report, f"run {run.id}")
    for arm, keys in zip(report.arms, run.keys, strict=True):
        yield _StoredArm(report, arm, keys)


def _rows(store: Store, stored: _StoredArm) -> Iterator[ExportRow]:
    task = stored.report.task(stored.arm.task)
    index = {item: n for n, item in enumerate(task.items if task else ())}
    items = list(stored.keys)
    for start in range(0, len(items), _BATCH):
        part = items[start : start + _BATCH]
        found = store.responses([stored.keys[item] for item in part])
        for item in part:
            key = stored.keys[item]
            if key in found:
                yield _row(stored.report, stored.arm, index[item], key, found[key])


def _row(report: Report, arm: ArmRecord, index: int, key: str, response: Response) -> ExportRow:
    """The row of one response; `index` is the position of its item in the task."""
    task = report.task(arm.task)
    return {
        "run": report.digest,
        "created": report.created,
        "model": report.model.name,
        "task": arm.task,
        "arm": arm.method,
        "baseline": arm.baseline,
        "recipe": arm.recipe,
        "train_seed": arm.train_seed,
        "sample_seed": arm.sample_seed,
        "noise": arm.noise,
        "item_id": task.items[index] if task else None,
        "user_id": task.users[index] if task and task.users else None,
        "score": float(arm.scores[index]),
        "response": response.text,
        "n_prompt": response.n_prompt,
        "n_tokens": response.n_tokens,
        "finish": response.finish,
        "option_logprobs": None if response.option_logprobs is None else list(response.option_logprobs),
        "key": key,
    }


def _jsonl(file: Path, rows: Iterable[ExportRow]) -> int:
    """Write JSON Lines in ASCII alone, so that a model's text cannot control a terminal that shows the file."""
    count = 0
    with file.open("w", encoding="ascii") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
            count += 1
    return count


def _parquet(file: Path, rows: Iterable[ExportRow]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int64()
    types = {"score": pa.float64(), "noise": pa.bool_(), "option_logprobs": pa.list_(pa.float64())}
    types |= dict.fromkeys(("train_seed", "sample_seed", "n_prompt", "n_tokens"), whole)
    schema = pa.schema([(name, types.get(name, text)) for name in COLUMNS])
    count, batch = 0, list[ExportRow]()
    with pq.ParquetWriter(file, schema) as out:
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                out.write_table(pa.Table.from_pylist(batch, schema))
                count, batch = count + len(batch), []
        out.write_table(pa.Table.from_pylist(batch, schema))
    return count + len(batch)
