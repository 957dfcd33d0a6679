"""The comparisons of a report as CSV: one row each, figures in full precision, names that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

from mipo_bench.harness.core.text import plain
from mipo_bench.reports.records.report import ComparisonRecord, Report

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the wide forms of the first, which some spreadsheets take for them."""
_COLUMNS = (
    *(name for name in ComparisonRecord.model_fields if name not in ("per_seed", "warnings")),
    "per_seed",
    "warnings",
    "weight",
    "alpha",
    "model",
    "model_digest",
    "commit",
    "dirty",
    "created",
)


def to_csv(report: Report) -> str:
    """A heading and one row for each comparison, in the order of the report; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_row(report, comparison) for comparison in report.comparisons)
    return text.getvalue()


def _row(report: Report, comparison: ComparisonRecord) -> list[str]:
    values = comparison.model_dump() | {
        "per_seed": ";".join(f"{seed}:{delta!r}" for seed, delta in comparison.per_seed),
        "warnings": ";".join(warning.code for warning in comparison.warnings),
        "weight": report.weight,
        "alpha": report.alpha,
        "model": report.model.name,
        "model_digest": report.model.digest,
        "commit": report.provenance.commit,
        "dirty": report.provenance.dirty,
        "created": report.created,
    }
    return [_cell(values[name]) for name in _COLUMNS]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return safe_cell(value)
    return repr(value)


def safe_cell(text: str) -> str:
    """Text that a spreadsheet takes as text, although it may begin like a formula."""
    return "'" + plain(text) if text.startswith(_FORMULA) else plain(text)
