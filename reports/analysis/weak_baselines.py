"""A trained baseline that ends below the model it started from: whoever beats it has beaten little."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mipo_bench.reports.numbers import signed
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord, TaskRecord


def flagged(
    made: Sequence[ComparisonRecord],
    tasks: Sequence[TaskRecord],
    checkpoints: Sequence[CheckpointRecord],
    baselines: Collection[str],
) -> list[ComparisonRecord]:
    """The comparisons, with a warning on each that involves a trained baseline below its own starting point.

    The starting point is the base model under the task's reference prompt. The warning tells how the training went.
    """
    references = {task.name: task.reference for task in tasks}
    below = {
        (c.task, c.method): c.delta
        for c in made
        if c.method in baselines and c.base == references[c.task] and c.delta is not None and c.delta < 0
    }
    notes = {key: _note(*key, delta, checkpoints) for key, delta in below.items()}
    return [_marked(c, [notes[key] for key in ((c.task, c.base), (c.task, c.method)) if key in notes]) for c in made]


def _marked(comparison: ComparisonRecord, notes: Sequence[CaveatRecord]) -> ComparisonRecord:
    return comparison.model_copy(update={"warnings": [*comparison.warnings, *notes]}) if notes else comparison


def _note(task: str, method: str, delta: float, checkpoints: Sequence[CheckpointRecord]) -> CaveatRecord:
    courses = [_course(c.lineage) for c in checkpoints if (c.task, c.recipe) == (task, method)]
    seeds = "; ".join(course for course in courses if course)
    message = f"{method} ends below the base model ({signed(delta)}): beating it shows little"
    return CaveatRecord(code="below_base", message=f"{message}. Its training: {seeds}" if seeds else message)


def _course(lineage: Mapping[str, Any]) -> str | None:
    """How the training went under one seed: reward, or loss, of the first step and over the last quarter."""
    curve = lineage.get("curve") or []
    name = "reward" if any("reward" in point for point in curve) else "loss"
    values = [float(point[name]) for point in curve if point.get(name) is not None]
    if not values:
        return None
    late = values[-max(1, len(values) // 4) :]
    return f"{name} {values[0]:.3g} to {sum(late) / len(late):.3g} in {len(curve)} steps"
