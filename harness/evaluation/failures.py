"""The failure of a part: the rest of the run goes on, and the failure becomes a row of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import UserError, described
from mipo_bench.reports.records.report import FailureRecord

LONGEST = 500
"""Characters of a failure that are kept."""
ENDS_THE_RUN: tuple[type[BaseException], ...] = (UserError, KeyboardInterrupt)
"""Errors that end the whole run: those that the user must repair, and Ctrl-C."""


@contextmanager
def recorded(
    record: Callable[[BaseException], object], *, passing: tuple[type[BaseException], ...] = ENDS_THE_RUN
) -> Iterator[None]:
    """Hand any error of the block to `record`, and go on after the block. Raises errors of the `passing` types only.

    Code of plugins runs in the block, and it may raise anything: SystemExit, and panics of native code, count too.
    """
    try:
        yield
    except passing:
        raise
    except BaseException as error:  # noqa: BLE001 - one part must not lose the others; the report names it
        record(error)


def failure_record(task: str, method: str, train_seed: int | None, stage: str, error: BaseException) -> FailureRecord:
    """What was lost, where and why; keys in the error's text are not repeated."""
    kind = type(error).__name__
    message = redact(described(error)).removeprefix(f"{kind}: ")[:LONGEST]
    return FailureRecord(task=task, method=method, train_seed=train_seed, stage=stage, error=kind, message=message)


def failure_line(lost: FailureRecord) -> str:
    """A line for whoever watches the run."""
    seed = "" if lost.train_seed is None else f" seed {lost.train_seed}"
    return f"! {lost.task} {lost.method}{seed} failed at {lost.stage}: {lost.error}: {lost.message}"
