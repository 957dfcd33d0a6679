"""Pages of plain tables, lists and footnotes: the common form that the modules of `pages` make and renderers draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mipo_bench.reports.records.base import CaveatRecord


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title, column headings, and rows of text. The first column is left-aligned, the rest right.

    A row whose first cell alone has text is a heading of the rows below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A text of a model or a task with its label, shown word for word."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing with the texts that belong to it."""

    name: str
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that a reader may want to fold."""

    title: str
    entries: tuple[Entry, ...]
    inline: bool = False
    """Entries are names only; a renderer may print them on one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """Tables and lists under one heading."""

    title: str
    tables: tuple[Table, ...]
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole document: head lines, sections, footnotes, and conclusions.

    Head lines that begin with `!` are warnings.
    """

    title: str
    head: tuple[str, ...]
    sections: tuple[Section, ...]
    footnotes: tuple[str, ...] = ()
    conclusions: tuple[str, ...] = ()


@dataclass
class Footnotes:
    """Numbers warnings in the order of their first use; equal warnings share a number."""

    texts: list[str] = field(default_factory=list)

    def marks(self, warnings: Iterable[CaveatRecord | str]) -> str:
        """The numbers of these warnings, such as ` [1,3]`; empty without any."""
        numbers = []
        for warning in warnings:
            text = warning if isinstance(warning, str) else warning.message
            if text not in self.texts:
                self.texts.append(text)
            numbers.append(self.texts.index(text) + 1)
        return f" [{','.join(str(n) for n in sorted(set(numbers)))}]" if numbers else ""
