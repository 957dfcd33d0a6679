"""Marks comparisons with a trained baseline that ends below the model it started from: beating it shows little.

The report calls it after the comparisons are tested.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mipo_bench.reports.analysis.training_curve import below_base, below_base_warning
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord, TaskRecord


def with_below_base_warnings(
    made: Sequence[ComparisonRecord],
    tasks: Sequence[TaskRecord],
    checkpoints: Sequence[CheckpointRecord],
    baselines: Collection[str],
    alpha: float,
) -> list[ComparisonRecord]:
    """The comparisons, with a warning on each that involves a trained baseline below its starting point.

    The starting point is the base model under the task's reference prompt. The warning summarises the training.
    """
    found = [below_base(made, task.name, method, task.reference) for task in tasks for method in baselines]
    notes = {
        (below.task, below.method): CaveatRecord(
            code="below_base", message=below_base_warning(below, checkpoints, alpha)
        )
        for below in found
        if below is not None
    }
    return [_marked(c, [notes[key] for key in ((c.task, c.base), (c.task, c.method)) if key in notes]) for c in made]


def _marked(comparison: ComparisonRecord, notes: Sequence[CaveatRecord]) -> ComparisonRecord:
    return comparison.model_copy(update={"warnings": [*comparison.warnings, *notes]}) if notes else comparison
