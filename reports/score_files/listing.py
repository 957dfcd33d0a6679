"""`mipo-bench compare --list`: the format of a file, its arms, metrics and counts, and what would be refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs import table
from mipo_bench.reports.logs.formats import Format, find_format
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.logs.source import Source, open_source
from mipo_bench.reports.numbers import unsigned
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table

_COLUMNS = ("arm", "task", "metric", "filter", "items", "rows", "seeds", "users", "no score", "mean")


def listing_page(paths: Sequence[Path], choice: Choice) -> Page:
    """A table for each file. Raises UserError for a file of no format that is known."""
    notes = Footnotes()
    sections = tuple(_section(path, replace(choice, allow_missing=True), notes) for path in paths)
    head = "arms, metrics and counts; a footnote says why `compare` would refuse"
    return Page("mipo-bench compare --list", (head,), sections, tuple(notes.texts))


def _section(path: Path, choice: Choice, notes: Footnotes) -> Section:
    source = open_source(path)
    found = find_format(source, choice)
    rows = [row for one in _choices(found, source, choice) for row in _rows(found, source, one, notes)]
    fields = f" with the columns {', '.join(source.columns)}" if found.name == table.NAME else ""
    return Section(f"{path}: {found.name}{fields}", (_without_empty(rows),))


def _without_empty(rows: list[tuple[str, ...]]) -> Table:
    """The table without the columns that are empty in all rows, but for the first and the last."""
    last = len(_COLUMNS) - 1
    kept = [place for place in range(last + 1) if place in (0, last) or any(row[place] != "-" for row in rows)]
    return Table("", tuple(_COLUMNS[k] for k in kept), tuple(tuple(row[k] for k in kept) for row in rows))


def _choices(found: Format, source: Source, choice: Choice) -> list[Choice]:
    """Every choice of scores that the file offers, or those that the options leave."""
    try:
        offered = found.metrics(source, choice)
    except UserError:
        return [choice]  # reading the file gives the same error, as its row
    wanted = [
        one
        for one in offered
        if choice.metric in (None, one.metric)
        and choice.filter in (None, one.filter)
        and choice.task in (None, one.task)
    ]
    return wanted or [choice]


def _rows(found: Format, source: Source, choice: Choice, notes: Footnotes) -> list[tuple[str, ...]]:
    names = (choice.task or "-", choice.metric or "-", choice.filter or "-")
    try:
        files = found.read(source, choice)
    except UserError as error:
        return [(f"refused{notes.marks([str(error)])}", *names, *["-"] * 6)]
    return [_row(file, choice, notes) for file in files]


def _row(file: ScoreFile, choice: Choice, notes: Footnotes) -> tuple[str, ...]:
    scores, header = file.scores, file.header
    missing = int(np.isnan(scores.value).sum())
    mean = float(np.nanmean(scores.value)) if missing < len(scores.value) else None
    return (
        f"{header.arm or '-'}{notes.marks([note.message for note in header.notes])}",
        choice.task or "-",
        header.metric or "-",
        header.filter or "-",
        str(len(set(scores.item))),
        str(len(scores.value)),
        str(len(set(scores.seed.tolist()))) if scores.seed is not None else "-",
        str(len(set(scores.cluster))) if scores.cluster is not None else "-",
        str(missing),
        unsigned(mean),
    )
