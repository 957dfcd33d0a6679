"""The failure of a part as a row of the report."""

from __future__ import annotations

from mipo_bench.harness.core.redaction import redacted
from mipo_bench.harness.errors import described
from mipo_bench.harness.evaluation.scoring import LONGEST
from mipo_bench.reports.records.report import FailureRecord


def failure_record(task: str, method: str, train_seed: int | None, stage: str, error: BaseException) -> FailureRecord:
    """What was lost, where and why; keys in the error's text are not repeated."""
    kind = type(error).__name__
    message = redacted(described(error)).removeprefix(f"{kind}: ")[:LONGEST]
    return FailureRecord(task=task, method=method, train_seed=train_seed, stage=stage, error=kind, message=message)


def failure_line(lost: FailureRecord) -> str:
    """A line for whoever watches the run."""
    seed = "" if lost.train_seed is None else f" seed {lost.train_seed}"
    return f"! {lost.task} {lost.method}{seed} failed at {lost.stage}: {lost.error}: {lost.message}"
