"""`mipo-bench list` and `mipo-bench show`: what is installed, and what a report says. Neither loads torch."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.harness import plugins
from mipo_bench.harness.errors import ConfigError, unknown
from mipo_bench.reports.markdown import to_markdown
from mipo_bench.reports.reportfile import load_report, to_json
from mipo_bench.reports.terminal import show_terminal

FORMATS = ("terminal", "markdown", "json")


def print_plugins() -> None:
    """Tasks, baselines and recipes with their one-line descriptions."""
    groups = {
        "tasks": [(t.name, f"{t.suite}: {t.description}") for t in plugins.tasks().values()],
        "baselines": [(b.name, b.description) for b in plugins.baselines().values()],
        "recipes": [(r.name, r.description) for r in plugins.recipes().values()],
    }
    console = Console(highlight=False)
    for title, rows in groups.items():
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=22, no_wrap=True)
        for name, description in rows:
            table.add_row(Text(f"  {name}"), Text(description))
        console.print(table)


def print_report(path: Path, form: str) -> None:
    """Print a report to stdout. Raises ConfigError for an unknown format, ReportError for an unreadable report."""
    if form not in FORMATS:
        raise ConfigError(unknown("format", form, FORMATS))
    report = load_report(path)
    if form == "terminal":
        show_terminal(report, Console(highlight=False))
    else:
        sys.stdout.write(to_markdown(report) if form == "markdown" else to_json(report))
