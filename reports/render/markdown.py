"""Writes a page as Markdown, for `report.md` or a pull-request comment."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.pages.page import Entry, Listing, Page, Table
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import Report

_SPECIAL = str.maketrans({c: "\\" + c for c in "\\`*_{}[]<>#|!~$@"} | {"&": "&amp;"})
_REFERENCES = re.compile(r"@(?=\w)|#(?=\d)")
"""Characters that begin a mention or an issue link on GitHub, even if they are escaped."""
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
"""Characters without which GitHub Flavored Markdown makes no link of a bare address (its extended autolinks)."""


def to_markdown(report: Report) -> str:
    """The whole report as Markdown."""
    return page_to_markdown(report_page(report))


def page_to_markdown(p: Page) -> str:
    """The whole page as Markdown: head, conclusions, sections, footnotes."""
    lines = [f"# {escape(p.title)}", "", *(f"- {escape(line)}" for line in p.head), ""]
    for line in p.conclusions:
        lines += [f"- {escape(line.strip())}"] if line.startswith(" ") else ["", f"**{escape(line)}**", ""]
    lines += [""]
    for section in p.sections:
        lines += [f"## {escape(section.title)}", ""]
        for table in section.tables:
            lines += [*table_to_markdown(table), ""]
        for listing in section.listings:
            lines += [*_details(listing), ""]
    lines += [f"\\[{n}\\] {escape(note)}  " for n, note in enumerate(p.footnotes, start=1)]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows literally: no markup, HTML, links, mentions or control characters."""
    escaped = _unlinked(without_control_characters(text)).translate(_SPECIAL)
    return _LINKS.sub(lambda found: "\\" + found[0], escaped)


def _unlinked(text: str) -> str:
    return _REFERENCES.sub(lambda found: found[0] + "\u200b", text)


def table_to_markdown(grid: Table) -> list[str]:
    """The lines of a table, its title above it."""
    rule = ["---", *(["---:"] * (len(grid.columns) - 1))]
    rows = [grid.columns, *grid.rows]
    table = ["| " + " | ".join(escape(cell.strip()) for cell in row) + " |" for row in rows]
    title = [f"*{escape(grid.title)}*", ""] if grid.title else []
    return [*title, table[0], "| " + " | ".join(rule) + " |", *table[1:]]


def _details(listing: Listing) -> list[str]:
    """A folded list. Markdown inside HTML needs the blank line after the summary."""
    lines = ["<details>", f"<summary>{html(listing.title)}</summary>", ""]
    for entry in listing.entries:
        lines += _entry(entry)
    return [*lines, "", "</details>"]


def _entry(entry: Entry) -> Iterable[str]:
    yield f"- {escape(entry.name)}"
    for quote in entry.quotes:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", quote.text)), default=0))
        yield from ("", f"  {escape(quote.label)}:", "", f"  {fence}text")
        yield from (f"  {without_control_characters(line)}" for line in quote.text.splitlines())
        yield from (f"  {fence}", "")


def html(text: str) -> str:
    """Text inside an HTML element of the page."""
    return _unlinked(without_control_characters(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
