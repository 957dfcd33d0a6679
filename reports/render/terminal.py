"""Draws a page on a terminal, readable at 80 columns and without colour."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.pages.page import Listing, Page, Table
from mipo_bench.reports.render.text_table import NARROWEST, table_lines

MAX_WIDTH = 100
"""Maximal width of text and tables, in columns: wider lines are harder to read."""


def draw(p: Page, console: Console) -> None:
    """Draw a page. It is 80 columns wide if the output is not a terminal."""
    console.size = (max(NARROWEST, console.width), console.height)  # fixed, or it is asked for at every line
    for line in p.head:
        _print_text(console, line, "bold red" if line.startswith("!") else "")
    for section in p.sections:
        console.print()
        _print_text(console, section.title, "bold")
        for table in section.tables:
            console.print()
            _table(console, table)
        for listing in section.listings:
            console.print()
            _listing(console, listing)
    if p.footnotes:
        console.print()
    for n, note in enumerate(p.footnotes, start=1):
        _print_text(console, f"[{n}] {note}", "dim")
    if p.conclusions:
        console.print()
    for line in p.conclusions:
        _print_text(console, line, "bold")


def _print_text(console: Console, text: str, style: str = "", indent: int = 0) -> None:
    """Print text wrapped at the width; a longer word is broken, never cut."""
    lines = Text(without_control_characters(text), style=style).wrap(
        console, min(console.width, MAX_WIDTH) - indent, overflow="fold"
    )
    for line in lines:
        line.rstrip()
        console.print(Text(" " * indent) + line, soft_wrap=True)


def _table(console: Console, table: Table) -> None:
    if table.title:
        _print_text(console, table.title, "italic")
    for n, line in enumerate(table_lines(table.columns, table.rows, min(console.width, MAX_WIDTH))):
        console.print(Text(line, style="bold" if n == 0 else ""), soft_wrap=True)


def _listing(console: Console, listing: Listing) -> None:
    if listing.inline:
        names = ", ".join(entry.name for entry in listing.entries)
        _print_text(console, f"{listing.title}: {names}")
        return
    _print_text(console, listing.title, "italic")
    for entry in listing.entries:
        _print_text(console, entry.name, indent=2)
        for quote in entry.quotes:
            _print_text(console, f"{quote.label}:", "dim", indent=4)
            for line in quote.text.splitlines() or [""]:
                _print_text(console, line, indent=6)
