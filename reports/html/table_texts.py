"""A table as Markdown, CSV and LaTeX, for the buttons below each table of the HTML report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from mipo_bench.reports.pages.page import Table
from mipo_bench.reports.render.csv_table import safe_cell
from mipo_bench.reports.render.latex import table_to_latex
from mipo_bench.reports.render.markdown import escape, table_to_markdown

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+%?")
"""A cell that no spreadsheet reads as a formula, although it may begin with a sign."""


def table_texts(table: Table, chapter: str, notes: Sequence[tuple[int, str]]) -> tuple[str, str, str]:
    """The table as Markdown with the footnotes that it names, as CSV, and as LaTeX. `chapter` goes into its caption."""
    marks = {int(n) for row in table.rows for cell in row for n in re.findall(r"\d+", _marks(cell))}
    markdown = [*table_to_markdown(table), "", *(f"\\[{n}\\] {escape(text)}  " for n, text in notes if n in marks)]
    latex = table_to_latex(f"{chapter}. {table.title}.", table)
    return "\n".join(markdown).rstrip() + "\n", _csv(table), "\n".join(latex) + "\n"


def _marks(cell: str) -> str:
    found = re.search(r" \[([0-9,]+)\]$", cell)
    return found[1] if found else ""


def _csv(table: Table) -> str:
    text = io.StringIO()
    rows = ([c.strip() for c in row] for row in (table.columns, *table.rows))
    csv.writer(text, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else safe_cell(text)
