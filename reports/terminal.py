"""The report on a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.reports.record import Report
from mipo_bench.reports.tables import Grid, page


def show_terminal(report: Report, console: Console) -> None:
    """Draw the report; readable at 80 columns and without colour."""
    p = page(report)
    for line in p.head:
        console.print(Text(plain(line), style="bold red" if line.startswith("!") else ""))
    for title, grids in p.sections:
        console.print()
        console.rule(Text(plain(title), style="bold"), align="left")
        for grid in grids:
            console.print(Text(plain(grid.title), style="italic"))
            console.print(_table(grid))
    for n, note in enumerate(p.footnotes, start=1):
        console.print(Text(f"[{n}] {plain(note)}", style="dim"))
    if p.answers:
        console.print()
    for line in p.answers:
        console.print(Text(plain(line), style="bold"))


def plain(text: str) -> str:
    """The text without control characters: what a model or a plugin wrote cannot steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _table(grid: Grid) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for n, column in enumerate(grid.columns):
        table.add_column(Text(plain(column)), justify="right" if n else "left", no_wrap=n > 0, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table
