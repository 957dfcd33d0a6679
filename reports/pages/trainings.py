"""Lays out the trainings of a report as a table: pairs used and left out, loss, margin, accuracy and drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipo_bench.reports.analysis.training_curve import TrainingCurve, training_curve
from mipo_bench.reports.numbers import unsigned
from mipo_bench.reports.pages.page import Footnotes, Table
from mipo_bench.reports.records.report import CheckpointRecord

FEW = 0.5
"""Below this share of usable pairs a training has a footnote: the rest is no longer a fair sample."""


def trainings(checkpoints: Sequence[CheckpointRecord], notes: Footnotes) -> Table | None:
    """One row for each checkpoint; None if nothing was trained."""
    rows = tuple(_row(c, notes) for c in checkpoints)
    columns = ("training", "pairs", "lost", "steps", "loss", "margin", "acc.", "drift")
    title = "trainings (last quarter of the steps; drift of the chosen log-probability)"
    return Table(title, columns, rows) if rows else None


def _row(checkpoint: CheckpointRecord, notes: Footnotes) -> tuple[str, ...]:
    pairs, curve = checkpoint.lineage.get("pairs", {}), training_curve(checkpoint)
    used, lost = int(pairs.get("used", 0)), _left_out(pairs)
    warnings = []
    if used < FEW * (used + sum(lost.values())):
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(lost.items()) if n)
        warnings.append(f"most pairs could not be used: {reasons}")
    name = f"{checkpoint.recipe} seed {checkpoint.train_seed}{notes.marks(warnings)}"
    return (name, str(used), str(sum(lost.values())), str(len(curve.points)), *_course(curve))


def _left_out(pairs: Mapping[str, Any]) -> dict[str, int]:
    """Reason -> number of pairs."""
    counts = {str(reason): int(n) for reason, n in pairs.get("discarded", {}).items()}
    return {**counts, "too long to train on": int(pairs.get("too_long", 0))}


def _course(curve: TrainingCurve) -> tuple[str, str, str, str]:
    """Loss, margin, accuracy and drift; means over the last quarter of the steps."""
    if not curve.points:
        return "-", "-", "-", "-"
    margin, accuracy, drift = curve.final("margin"), curve.final("accuracy"), curve.drift()
    return (
        f"{unsigned(curve.first('loss'))} to {unsigned(curve.final('loss'))}",
        "-" if margin is None else f"{margin:+.2f}",
        "-" if accuracy is None else f"{accuracy:.2f}",
        "-" if drift is None else f"{drift.nats:+.1f}",
    )
