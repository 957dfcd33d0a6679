"""An HTML page as a record, and its one template: one self-contained file, which opens from disk and loads nothing.

Everything outside of the project is hostile text: Jinja escapes it, and a content security policy allows this one style
sheet and this one program by their hashes, and no HTML made by scripts (Trusted Types). Everything but the sample
browser is there without scripts. The same document gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlencode

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.html.blocks import Block, pack
from mipo_bench.reports.html.figures import Curves, Panel, Verdict
from mipo_bench.reports.html.scatter import Scatter
from mipo_bench.reports.html.table_texts import table_texts
from mipo_bench.reports.pages.page import Listing, Page, Section, Table

_PROGRAM = ("page.js", "item_list.js", "one_item.js", "samples.js")
_MARKS = re.compile(r" \[([0-9]+(?:,[0-9]+)*)\]$")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its text, and the numbers of its footnotes."""

    text: str
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: a row of one cell alone is a heading of the rows below it."""

    table: Table
    rows: Sequence[Sequence[Cell]]

    @property
    def title(self) -> str:
        """The caption."""
        return self.table.title

    @property
    def columns(self) -> Sequence[str]:
        """The headings."""
        return self.table.columns


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a task: differences, scores, information against score, and training curves."""

    differences: Sequence[Panel]
    scores: Panel | None = None
    scatters: Sequence[Scatter] = ()
    curves: Sequence[Curves] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """A task with its figures, tables and lists, and the footnotes of its tables by number."""

    number: int
    name: str
    title: str
    figures: Figures
    grids: Sequence[Grid]
    listings: Sequence[Listing]
    notes: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A sentence of the summary; the verdict, and task, base and method, if it is one of the primary family."""

    text: str
    verdict: Verdict | None = None
    pair: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A page: its head lines (warnings begin with `!`), conclusions, chapters, and where it comes from.

    `facts` are terms with their values, `folded` titles with longer texts. Without `blocks` there is no sample browser.
    """

    title: str
    subtitle: str
    head: Sequence[str]
    answers: Sequence[Answer]
    chapters: Sequence[Chapter]
    alpha: float
    measured: str = "method minus base"
    facts: Sequence[tuple[str, str]] = ()
    folded: Sequence[tuple[str, str]] = ()
    blocks: Sequence[Block] = ()
    split: bool = False
    """Blocks of texts are files of their own, which the page loads when it needs them."""

    @property
    def all_blocks(self) -> Iterable[Block]:
        """The blocks of the sample browser, and the tables in other formats, in the order of the page."""
        yield pack("tables", [table_texts(grid.table, c.title, c.notes) for c in self.chapters for grid in c.grids])
        yield from self.blocks

    @property
    def circles(self) -> bool:
        """Whether the shape of a mark has a meaning."""
        return self.measured == "method minus base"

    def apart(self, block: Block) -> bool:
        """Whether the block is a file of its own."""
        return self.split and block.apart


def render(document: Document) -> str:
    """The whole file."""
    style, program = _file("report.css"), "".join(_file(name) for name in _PROGRAM)
    return (
        _environment()
        .from_string(_file("report.html.jinja"))
        .render(
            d=document,
            policy=_policy(style, program, split=document.split),
            style=_own(style),
            program=_own(program),
        )
    )


def chapter(page: Page, number: int, name: str, figures: Figures) -> Chapter:
    """The chapter of one section of a page, by its number from 1."""
    section: Section = page.sections[number - 1]
    grids = [_grid(table, len(page.footnotes)) for table in section.tables]
    used = sorted({n for grid in grids for row in grid.rows for cell in row for n in cell.notes})
    notes = [(n, page.footnotes[n - 1]) for n in used]
    return Chapter(number, name, section.title, figures, grids, section.listings, notes)


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shown"] = lambda value: without_control_characters(str(value))
    environment.filters["lines"] = lambda text: "\n".join(without_control_characters(t) for t in text.splitlines())
    environment.filters["route"] = _route
    return environment


def _own(source: str) -> Markup:
    """The project's own style sheet or program, unescaped: the only text of the page that is."""
    return Markup(source)  # noqa: S704 - files of this package


def _policy(style: str, program: str, *, split: bool) -> str:
    """The content security policy: nothing but this style sheet and this program, nothing from the network.

    A report in several files also loads the files beside it, whose names the program's one policy `files` checks.
    """
    files_too, made = (" 'self'", "files") if split else ("", "'none'")
    return (
        f"default-src 'none'; script-src '{_hash(program)}'{files_too}; style-src '{_hash(style)}'; img-src data:; "
        f"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types {made}"
    )


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _grid(table: Table, footnotes: int) -> Grid:
    return Grid(table, [list(_cells(row, footnotes)) for row in table.rows])


def _cells(row: Sequence[str], footnotes: int) -> Iterable[Cell]:
    """The cells of a row, the marks of footnotes apart from the text; one cell for a heading of rows."""
    filled = row[:1] if not any(row[1:]) else row
    for text in filled:
        found = _MARKS.search(text)
        notes = tuple(int(n) for n in found[1].split(",")) if found else ()
        if found and all(0 < n <= footnotes for n in notes):
            yield Cell(text[: found.start()].strip(), notes)
        else:
            yield Cell(text.strip())


def _route(pair: tuple[str, str, str], show: str = "any") -> str:
    """The address of the sample browser for a pair of arms."""
    task, base, method = pair
    return "#/items?" + urlencode({"task": task, "base": base, "method": method, "show": show})
