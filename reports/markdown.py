"""The report as Markdown, for a file or a pull-request comment."""

from __future__ import annotations

from mipo_bench.reports.record import Report
from mipo_bench.reports.tables import Grid, page
from mipo_bench.reports.terminal import plain

_SPECIAL = str.maketrans({c: "\\" + c for c in "\\`*_{}[]<>#|!~"} | {"&": "&amp;"})


def to_markdown(report: Report) -> str:
    """The whole report."""
    p = page(report)
    lines = ["# mipo-bench report", "", *(f"- {escape(line)}" for line in p.head), ""]
    for line in p.answers:
        lines += [f"**{escape(line)}**", ""]
    for title, grids in p.sections:
        lines += [f"## {escape(title)}", ""]
        for grid in grids:
            lines += [*_table(grid), ""]
    lines += [f"\\[{n}\\] {escape(note)}  " for n, note in enumerate(p.footnotes, start=1)]
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that shows as it is: no markup, no HTML, no control characters."""
    return plain(text).translate(_SPECIAL)


def _table(grid: Grid) -> list[str]:
    rule = ["---", *(["---:"] * (len(grid.columns) - 1))]
    rows = [grid.columns, *grid.rows]
    table = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return [f"*{escape(grid.title)}*", "", table[0], "| " + " | ".join(rule) + " |", *table[1:]]
