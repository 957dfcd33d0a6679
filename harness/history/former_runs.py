"""Reports of the former runs of a store, for the looks of a new one and for the gate of a diff."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.store.database import has_database
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH, parse_report


def former_reports(store: Store, holding: str) -> tuple[list[Report], list[str]]:
    """The reports whose text holds these characters, the oldest first; and the ids of those that cannot be read.

    The characters, such as the digest of a model, spare the time of reading the others.
    """
    reports, unread = [], []
    for run in store.runs():
        if holding in run.report:
            try:
                reports.append(parse_report(run.report, f"run {run.id[:RUN_ID_LENGTH]}"))
            except ReportError:
                unread.append(run.id[:RUN_ID_LENGTH])
    return reports, unread


def stored_reports(folder: Path, holding: str) -> list[Report]:
    """The same for a store that may not exist, without the unread ones, which `history` lists with the reason."""
    if not has_database(folder):
        return []
    with closing(Store(folder)) as store:
        return former_reports(store, holding)[0]
