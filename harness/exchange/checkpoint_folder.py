"""Copies a trained checkpoint out of the run store, with its lineage and a model card (`store checkpoint`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.core.files import new_folder
from mipo_bench.harness.errors import ConfigError, ReportError, StorageError
from mipo_bench.harness.exchange.model_card import CARD, model_card
from mipo_bench.harness.store.checkpoints import CHECKPOINTS, Checkpoint
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import CheckpointRecord, Report
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH, parse_report

_LINEAGE = "lineage.json"
_LEFT_OUT = ("pairs.jsonl", CARD)
"""Files of a checkpoint that stay in the store. Pairs are texts of users and data sets with licences of their own."""


@dataclass(frozen=True, slots=True)
class TrainedArm:
    """A trained arm of a report, by the names on the command line: TASK/ARM/SEED."""

    task: str
    method: str
    seed: int

    @classmethod
    def parse(cls, text: str) -> TrainedArm:
        """The arm that a text names; the name of a task may hold slashes. Raises ConfigError."""
        task, _, rest = text.rpartition("/")[0].rpartition("/")
        seed = text.rpartition("/")[2]
        if not (task and rest and seed.isdecimal()):
            raise ConfigError(
                f"cannot read {text!r}: write TASK/ARM/SEED with a training seed, such as persona/mipo-random/0."
            )
        return cls(task, rest, int(seed))


def export_checkpoint(store: Store, run: str, arm: TrainedArm, folder: Path, licence: str | None = None) -> None:
    """Write weights, `lineage.json` and README.md (the model card) to a new folder, which is whole or absent.

    Raises ReportError if no run or several begin with `run`, ConfigError for an arm that it did not train, and
    StorageError if the checkpoint is no longer in the store or the folder exists or cannot be written.
    """
    found = _run(store, run)
    report = parse_report(found.report, f"run {found.id}")
    record = _record(report, arm)
    card = model_card(report, record, licence)
    checkpoint = _checkpoint(store, found, record)
    if checkpoint is None:
        raise StorageError(
            f"the checkpoint {arm.task}/{arm.method}/{arm.seed} of run {found.id[:RUN_ID_LENGTH]} is no longer in the"
            f" store {store.folder}. The same `mipo-bench run` trains it again."
        )
    _copy(checkpoint.folder, folder, card)


def _run(store: Store, prefix: str) -> StoredRun:
    runs = store.runs(prefix) if prefix else []
    if len(runs) == 1:
        return runs[0]
    known = ", ".join(run.id[:RUN_ID_LENGTH] for run in (runs or store.runs())) or "none"
    what = f"several runs that begin with {prefix!r}" if runs else f"no run {prefix!r}"
    raise ReportError(f"the store {store.folder} has {what}. Runs: {known}.")


def _record(report: Report, arm: TrainedArm) -> CheckpointRecord:
    """The report's record of a checkpoint."""
    for record in report.checkpoints:
        if (record.task, record.recipe, record.train_seed) == (arm.task, arm.method, arm.seed):
            return record
    known = ", ".join(f"{c.task}/{c.recipe}/{c.train_seed}" for c in report.checkpoints) or "none: it trained nothing"
    raise ConfigError(f"the run has no checkpoint {arm.task}/{arm.method}/{arm.seed}. Its checkpoints: {known}.")


def _checkpoint(store: Store, run: StoredRun, record: CheckpointRecord) -> Checkpoint | None:
    """The undamaged checkpoint of the record; None if the store does not have it.

    Only folders with the lineage of the record are compared with its digest: that reads all weights.
    """
    for key in _keys(store, run):
        if _fits(store.checkpoints.folder / key / _LINEAGE, record):
            found = store.checkpoints.get(key)
            if found is not None and found.digest == record.digest:
                return found
    return None


def _keys(store: Store, run: StoredRun) -> Iterator[str]:
    """The keys of the checkpoints that a run used; all of the store for a run of store schema 1."""
    if run.used is not None:
        yield from run.used.get(CHECKPOINTS, ())
    else:
        yield from (str(key) for (key,) in store.database.execute("SELECT key FROM checkpoints ORDER BY key"))


def _fits(lineage: Path, record: CheckpointRecord) -> bool:
    if not lineage.is_file():
        return False
    try:
        values = json.loads(lineage.read_text(encoding="utf-8"))
    except ValueError:  # a damaged file: `store verify` names it
        return False
    return isinstance(values, dict) and all(values.get(k) == record.lineage.get(k) for k in ("task", "recipe", "seed"))


def _copy(source: Path, target: Path, card: str) -> None:
    """Copy a checkpoint beside `target`, then move it there. Raises StorageError; an error leaves nothing behind."""
    with new_folder(target) as made:
        ignored = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(source, made, ignore=ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)
        made.chmod(0o755)  # the store's own folders are private
        (made / CARD).write_text(card, encoding="utf-8")
