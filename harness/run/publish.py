"""Writes a report to the output folder of a run, and gives the exit code that it stands for."""

from __future__ import annotations

from pathlib import Path

from mipo_bench.harness.core.files import write_atomically
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, SealedReport
from mipo_bench.reports.render.markdown import to_markdown

REPORT_FILES = (REPORT_FILE, "report.md")
"""The files that a run writes to its output folder."""


def write(found: SealedReport, folder: Path) -> None:
    """Write `report.json` and `report.md`."""
    for name, text in zip(REPORT_FILES, (found.text, to_markdown(found.report)), strict=True):
        write_atomically(folder / name, text)


def exit_code(report: Report) -> int:
    """1 where an arm or an item failed, else 0."""
    return 1 if report.failures or any(arm.failed for arm in report.arms) else 0
