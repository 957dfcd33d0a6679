"""Failures: an error in one part of a run becomes a row of the report, and the rest of the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import UserError, described
from mipo_bench.reports.records.report import FailureRecord

MAX_FAILURE_TEXT = 500
"""Most characters of a failure's message."""
ENDS_THE_RUN: tuple[type[BaseException], ...] = (UserError, KeyboardInterrupt)
"""Errors that end the whole run: those that the user must repair, and Ctrl-C."""


@contextmanager
def recorded(
    record: Callable[[BaseException], object], *, passing: tuple[type[BaseException], ...] = ENDS_THE_RUN
) -> Iterator[None]:
    """Pass any error of the block to `record`, and go on after the block. Raises errors of the `passing` types only.

    The block runs code of plugins, which may raise anything, also SystemExit and panics of native code.
    """
    try:
        yield
    except passing:
        raise
    except BaseException as error:  # noqa: BLE001 - one part must not end the others; the report names the error
        record(error)


def failure_record(task: str, method: str, train_seed: int | None, stage: str, error: BaseException) -> FailureRecord:
    """The record of a failure. Secret keys in the error's text are redacted."""
    kind = type(error).__name__
    message = redact(described(error)).removeprefix(f"{kind}: ")[:MAX_FAILURE_TEXT]
    return FailureRecord(task=task, method=method, train_seed=train_seed, stage=stage, error=kind, message=message)


def failure_line(failure: FailureRecord) -> str:
    """The line that the display shows for a failure."""
    seed = "" if failure.train_seed is None else f" seed {failure.train_seed}"
    return f"! {failure.task} {failure.method}{seed} failed at {failure.stage}: {failure.error}: {failure.message}"
