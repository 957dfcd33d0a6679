"""The comparison of score files as text: aligned at 80 columns, `~` where not significant, footnotes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mipo_bench.reports.stats import Comparison

WIDTH = 80
GAP = "  "
TESTS = {
    "mcnemar-exact": "McNemar",
    "sign-flip-exact": "sign-flip",
    "sign-flip-monte-carlo": "sign-flip",
    "crossed-satterthwaite": "crossed t",
    "none": "-",
}
WEIGHTS = {"micro": "items weigh equally (micro)", "macro": "users weigh equally (macro)"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One compared file. `p_holm` is None where the test is undefined."""

    name: str
    comparison: Comparison
    p_holm: float | None


def render(base: str, entries: Sequence[Entry]) -> str:
    """All comparisons with one base: effects, evidence, non-inferiority where asked for, footnotes."""
    first = entries[0].comparison
    notes = _Footnotes()
    marks = [notes.marks(entry.comparison) for entry in entries]
    blocks = [
        f"base    {_printable(base)}\nweight  {WEIGHTS[first.weight]}",
        _effects(entries, marks),
        _evidence(entries),
    ]
    if first.margin is not None:
        blocks.append(_noninferiority(entries, first.margin))
    blocks.append("\n".join([*_legend(entries), *notes.lines()]))
    return "\n\n".join(block for block in blocks if block)


def _legend(entries: Sequence[Entry]) -> list[str]:
    lines = []
    if len(entries) > 1:
        lines.append(f"Holm: p adjusted over the family of these {len(entries)} comparisons")
    if any(_is_open(entry) for entry in entries):
        lines.append(f"~ not significant at {entries[0].comparison.alpha:g}" + " (Holm)" * (len(entries) > 1))
    return lines


def _effects(entries: Sequence[Entry], marks: Sequence[str]) -> str:
    level = f"{1 - entries[0].comparison.alpha:.0%} CI"
    header = ["", "delta", "relative", level, "p", "Holm", ""]
    rows = [
        [
            entry.name,
            f"{entry.comparison.delta:+.3f}",
            _percent(entry.comparison.relative_delta),
            _interval(entry.comparison),
            ("~ " if _is_open(entry) else "") + _p(entry.comparison.p_value),
            _p(entry.p_holm),
            mark,
        ]
        for entry, mark in zip(entries, marks, strict=True)
    ]
    if len(entries) == 1:
        header, rows = [*header[:5], ""], [[*row[:5], row[6]] for row in rows]
    return _table(header, rows)


def _evidence(entries: Sequence[Entry]) -> str:
    header = ["", "base", "method", "items", "clusters", "seeds", "MDE", "d_z", "test"]
    rows = [
        [
            entry.name,
            f"{c.base_mean:.3f}",
            f"{c.method_mean:.3f}",
            str(c.n_items),
            str(c.n_clusters),
            str(c.n_seeds or "-"),
            _number(c.mde),
            _number(c.effect_size),
            TESTS[c.test],
        ]
        for entry in entries
        for c in [entry.comparison]
    ]
    return _table(header, rows)


def _noninferiority(entries: Sequence[Entry], margin: float) -> str:
    rows = []
    for entry in entries:
        c = entry.comparison
        verdict = {True: "yes", False: "~", None: "-"}[c.noninferior]
        rows.append([entry.name, verdict, f"one-sided p {_p(c.p_noninferiority)}"])
    return f"no worse than the base by more than {margin:g}:\n" + _table(["", "", ""], rows)


def _is_open(entry: Entry) -> bool:
    """Whether the comparison is not significant after adjustment."""
    return entry.p_holm is None or entry.p_holm > entry.comparison.alpha


def _table(header: list[str], rows: Sequence[list[str]]) -> str:
    """First and last column to the left, the others to the right; names give way to the width."""
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    room = WIDTH - sum(widths[1:]) - len(GAP) * (len(widths) - 1)
    widths[0] = max(8, min(widths[0], room))
    lines = [header, *rows] if any(header) else rows
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name = cells[0] if len(cells[0]) <= widths[0] else "…" + cells[0][1 - widths[0] :]
    middle = [cell.rjust(width) for cell, width in zip(cells[1:-1], widths[1:-1], strict=True)]
    return GAP.join([name.ljust(widths[0]), *middle, cells[-1]]).rstrip()


class _Footnotes:
    """Numbers caveats in the order of their first appearance; equal ones share a number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def marks(self, comparison: Comparison) -> str:
        """The numbers of a comparison's caveats."""
        texts = [f"{caveat.code.replace('_', ' ')}: {caveat.message}" for caveat in comparison.warnings]
        numbers = [self.numbers.setdefault(text, len(self.numbers) + 1) for text in texts]
        return ",".join(str(number) for number in sorted(numbers))

    def lines(self) -> list[str]:
        """All footnotes, wrapped."""
        return [
            textwrap.fill(_printable(text), WIDTH, initial_indent=f"{number} ", subsequent_indent="  ")
            for text, number in self.numbers.items()
        ]


def _interval(c: Comparison) -> str:
    return "-" if c.ci_low is None or c.ci_high is None else f"[{c.ci_low:+.3f}, {c.ci_high:+.3f}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def _printable(text: str) -> str:
    """Names and messages hold text of others: no terminal escapes."""
    return "".join(character if character.isprintable() else "?" for character in text)
