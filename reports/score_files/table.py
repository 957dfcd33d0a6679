"""Lays out comparisons of score files as a page: differences, evidence, and non-inferiority if a margin is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipo_bench.reports.numbers import interval, p_marked, p_text, percent, signed, unsigned
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table
from mipo_bench.reports.score_files.compare import Compared
from mipo_bench.reports.stats import Caveat

TESTS = {
    "mcnemar-exact": "McNemar",
    "sign-flip-exact": "sign-flip",
    "sign-flip-monte-carlo": "sign-flip",
    "share-weighted-t": "weighted t",
    "none": "-",
}
WEIGHTS = {"micro": "items weigh equally (micro)", "macro": "users weigh equally (macro)"}
_NONINFERIOR = {True: "yes", False: "~", None: "-"}


def compare_page(compared: Sequence[Compared]) -> Page:
    """Lay out all comparisons, those with one base in one section."""
    notes = Footnotes()
    first, family = compared[0].comparison, len(compared)
    groups = [[c for c in compared if c.base == base] for base in dict.fromkeys(c.base for c in compared)]
    sections = tuple(_section(group, family, notes) for group in groups)
    adjusted = " (Holm)" if family > 1 else ""
    head = f"delta = method - base on the same items; ~ not significant at {first.alpha:g}{adjusted}"
    return Page("mipo-bench compare", (head,), sections, tuple(notes.texts))


def _section(compared: Sequence[Compared], family: int, notes: Footnotes) -> Section:
    first = compared[0].comparison
    grids = [_differences(compared, family, notes), _evidence(compared)]
    if first.margin is not None:
        grids.append(_noninferiority(compared, first.margin))
    return Section(f"against {compared[0].base}, {WEIGHTS[first.average]}", tuple(grids))


def _differences(compared: Sequence[Compared], family: int, notes: Footnotes) -> Table:
    """The table of differences; it has a column for Holm's p-values if the family has several comparisons."""
    several = family > 1
    rows = []
    for entry in compared:
        c = entry.comparison
        deciding = p_marked(entry.p_holm, c.alpha)
        rows.append(
            (
                f"{entry.name}{notes.marks(_texts(c.warnings))}",
                signed(c.delta),
                interval(c.ci_low, c.ci_high, signed),
                percent(c.relative_delta),
                *((p_text(c.p_value), deciding) if several else (deciding,)),
            )
        )
    columns = ("method", "delta", "interval", "rel.", "p", *(("Holm",) if several else ()))
    adjusted = f"; p adjusted by Holm over {family} comparisons" if several else ""
    level = 1 - compared[0].comparison.alpha
    return Table(f"difference from the base, {level:.0%} interval{adjusted}", columns, tuple(rows))


def _texts(caveats: Iterable[Caveat]) -> Iterable[str]:
    return (f"{caveat.code.replace('_', ' ')}: {caveat.message}" for caveat in caveats)


def _evidence(compared: Sequence[Compared]) -> Table:
    rows = tuple(
        (
            entry.name,
            unsigned(c.base_mean),
            unsigned(c.method_mean),
            str(c.n_items),
            str(c.n_clusters),
            str(c.n_seeds or "-"),
            unsigned(c.mde),
            unsigned(c.effect_size),
            TESTS[c.test],
        )
        for entry in compared
        for c in [entry.comparison]
    )
    columns = ("method", "base", "score", "items", "clusters", "seeds", "MDE", "d_z", "test")
    return Table("scores and evidence (MDE: smallest difference found with 80% power)", columns, rows)


def _noninferiority(compared: Sequence[Compared], margin: float) -> Table:
    rows = tuple(
        (entry.name, _NONINFERIOR[entry.comparison.noninferior], p_text(entry.comparison.p_noninferiority))
        for entry in compared
    )
    return Table(f"no worse than the base by more than {margin:g}", ("method", "shown", "one-sided p"), rows)
