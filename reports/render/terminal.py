"""A page on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.pages.page import Listing, Page, Table
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.render.text_table import NARROWEST, table_lines

MAX_WIDTH = 100
"""Wider tables are no easier to read."""


def show_terminal(report: Report, console: Console) -> None:
    """Draw the report; readable at 80 columns and without colour."""
    draw(report_page(report), console)


def draw(p: Page, console: Console) -> None:
    """Draw a page. Where the output is no terminal it is 80 columns wide."""
    console.width = max(NARROWEST, console.width)
    for line in p.head:
        _say(console, line, "bold red" if line.startswith("!") else "")
    for section in p.sections:
        console.print()
        _say(console, section.title, "bold")
        for table in section.tables:
            console.print()
            _table(console, table)
        for listing in section.listings:
            console.print()
            _listing(console, listing)
    if p.footnotes:
        console.print()
    for n, note in enumerate(p.footnotes, start=1):
        _say(console, f"[{n}] {note}", "dim")
    if p.conclusions:
        console.print()
    for line in p.conclusions:
        _say(console, line, "bold")


def _say(console: Console, text: str, style: str = "", indent: int = 0) -> None:
    """Wrap at the width; what is one long word is folded, never cut."""
    lines = Text(without_control_characters(text), style=style).wrap(
        console, min(console.width, MAX_WIDTH) - indent, overflow="fold"
    )
    for line in lines:
        line.rstrip()
        console.print(Text(" " * indent) + line, soft_wrap=True)


def _table(console: Console, table: Table) -> None:
    if table.title:
        _say(console, table.title, "italic")
    for n, line in enumerate(table_lines(table.columns, table.rows, min(console.width, MAX_WIDTH))):
        console.print(Text(line, style="bold" if n == 0 else ""), soft_wrap=True)


def _listing(console: Console, listing: Listing) -> None:
    if listing.inline:
        names = ", ".join(entry.name for entry in listing.entries)
        _say(console, f"{listing.title}: {names}")
        return
    _say(console, listing.title, "italic")
    for entry in listing.entries:
        _say(console, entry.name, indent=2)
        for quote in entry.quotes:
            _say(console, f"{quote.label}:", "dim", indent=4)
            for line in quote.text.splitlines() or [""]:
                _say(console, line, indent=6)
