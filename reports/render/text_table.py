"""Lays out a table as lines of text at a given width, without control characters. `terminal` prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

from mipo_bench.harness.core.text import without_control_characters

WIDTH = 80
NARROWEST = 12
"""Minimal width at which text is wrapped, in columns."""
GAP = "  "


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """The heading, a rule and the rows as lines. The first column is left-aligned, the others right-aligned.

    A first cell that leaves no room for the others gets its own lines above them, so that nothing is cut.
    """
    width = max(width, NARROWEST)
    cells = [[without_control_characters(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(cell_len(row[n]) for row in cells) for n in range(len(columns))]
    taken = sum(widths[1:]) + len(GAP) * (len(widths) - 1)
    room = max(8, width - taken)
    short = [cell_len(row[0]) for row in cells if not any(row[1:]) or cell_len(row[0]) <= room]
    widths[0] = min(room, max(short, default=room))
    heading, *body = [line for row in cells for line in _row_lines(row, widths, width)]
    rule = "─" * max((cell_len(line) for line in (heading, *body)), default=0)
    return [heading, rule, *body]


def _row_lines(row: Sequence[str], widths: Sequence[int], width: int) -> list[str]:
    figures = GAP.join(_right(cell, size) for cell, size in zip(row[1:], widths[1:], strict=True))
    if cell_len(row[0]) <= widths[0]:
        return [f"{_left(row[0], widths[0])}{GAP}{figures}".rstrip()]
    indent = " " * min(len(row[0]) - len(row[0].lstrip()), width // 2)
    wrapped = textwrap.wrap(row[0], width, drop_whitespace=False, subsequent_indent=indent + "  ")
    name = [part for line in wrapped for part in chop_cells(line, width)]  # wide characters take two cells
    return [*name, f"{' ' * widths[0]}{GAP}{figures}"] if any(row[1:]) else name


def _left(text: str, size: int) -> str:
    return text + " " * (size - cell_len(text))


def _right(text: str, size: int) -> str:
    return " " * (size - cell_len(text)) + text
