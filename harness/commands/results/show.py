"""`mipo-bench show`: prints a report in any format, and draws its plots."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import FORMAT, PATH, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE


def show(
    report: Annotated[str, typer.Argument(help="report.json, the folder it is in, a run id or a git revision.")] = str(
        DEFAULT_REPORT
    ),
    *,
    format_: Annotated[Literal["terminal", "markdown", "latex", "csv", "json", "html"], FORMAT] = "terminal",
    plots: Annotated[Path | None, typer.Option(help="Also draw plots into this folder.", **PATH)] = None,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show a report."""
    from mipo_bench.harness.history.find_report import ReportSearch, find_report
    from mipo_bench.reports.pages.report import report_page
    from mipo_bench.reports.records.report_file import to_json
    from mipo_bench.reports.render.csv_table import to_csv
    from mipo_bench.reports.render.print_page import print_page

    found = find_report(report, ReportSearch(store, path))
    if plots is not None:
        from mipo_bench.reports.render.plots import write_plots

        for file in write_plots(found, plots):
            sys.stderr.write(f"wrote {file}\n")
    if format_ == "json":
        sys.stdout.write(to_json(found))
    elif format_ == "csv":
        sys.stdout.write(to_csv(found))
    elif format_ == "html":
        from mipo_bench.reports.html.report import report_to_html

        sys.stdout.write(report_to_html(found))
    else:
        print_page(report_page(found), format_)
