"""Writes comparisons as CSV: one row each, full precision, and no cell that a spreadsheet would run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.records.report import ComparisonRecord, Report

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a formula. The last four are full-width forms, which some spreadsheets accept too."""
_COLUMNS = (
    *(name for name in ComparisonRecord.model_fields if name not in ("per_seed", "warnings")),
    "per_seed",
    "warnings",
    "average",
    "alpha",
    "model",
    "model_digest",
    "commit",
    "dirty",
    "created",
)


def to_csv(report: Report) -> str:
    """A heading and one row for each comparison, in the order of the report; an undefined figure is an empty cell."""
    return rows_to_csv(_COLUMNS, (_row(report, comparison) for comparison in report.comparisons))


def rows_to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A heading and the rows; None is an empty cell, numbers have full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def comparison_cells(per_seed: Iterable[tuple[int, float]], codes: Iterable[str]) -> dict[str, object]:
    """The list fields of a comparison as cells: the delta of each training seed, and the codes of the warnings."""
    return {"per_seed": ";".join(f"{seed}:{delta!r}" for seed, delta in per_seed), "warnings": ";".join(codes)}


def _row(report: Report, comparison: ComparisonRecord) -> dict[str, object]:
    return {
        **comparison.model_dump(),
        "sensitivity": comparison.sensitivity and comparison.sensitivity.model_dump_json(),
        **comparison_cells(comparison.per_seed, [warning.code for warning in comparison.warnings]),
        "average": report.average,
        "alpha": report.alpha,
        "model": report.model.name,
        "model_digest": report.model.digest,
        "commit": report.provenance.commit,
        "dirty": report.provenance.dirty,
        "created": report.created,
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return safe_cell(value)
    return repr(value)


def safe_cell(text: str) -> str:
    """The text with a leading apostrophe if a spreadsheet would read it as a formula; without control characters."""
    return "'" + without_control_characters(text) if text.startswith(_FORMULA) else without_control_characters(text)
