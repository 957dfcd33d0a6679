"""Lays out the guards of a task as tables for the report.

Each figure that crosses a threshold of `analysis.guard_rules` has a footnote; docs/guards.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipo_bench.reports.analysis.guard_rules import (
    drift_warnings,
    mean_tokens,
    overlap_warnings,
    pair_warnings,
    response_warnings,
    share_of,
    wording_warnings,
)
from mipo_bench.reports.analysis.training_curve import Drift, below_base, below_base_warning, mean_drift
from mipo_bench.reports.numbers import percent, unsigned
from mipo_bench.reports.pages.page import Footnotes, Table
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import ArmRecord, ComparisonRecord, Report


def guard_tables(report: Report, task: str, notes: Footnotes) -> Iterable[Table]:
    """The guards of a task: its responses, its trainings, and the overlap with its training items."""
    record = next((g for g in report.guards if g.task == task), None)
    if record is None:
        return
    yield _wording(report, record, notes)
    trainings = _trainings(report, record, notes)
    if trainings:
        yield trainings
    if record.overlap:
        yield _overlap(record.overlap, notes)


def _wording(report: Report, record: GuardRecord, notes: Footnotes) -> Table:
    reference = _reference(report, record.task)
    by_method = {w.method: w for w in record.wording}
    before = by_method.get(reference)
    trained = {a.method for a in report.arms if a.task == record.task and a.recipe is not None}
    length = mean_tokens(report.group(record.task, reference))
    rows = []
    for w in record.wording:
        arms = report.group(record.task, w.method)
        ratio = mean_tokens(arms) / length if length else None
        warnings = [*response_warnings(w, arms)]
        if w.method in trained:
            warnings += wording_warnings(w, before, ratio)
        rows.append(_wording_row(w, arms, ratio, notes.marks(warnings)))
    columns = ("arm", "length", "cut", "none", "empty", "distinct-2", "self-BLEU", "perplexity")
    words = max((w.matched_words for w in record.wording), default=0)
    texts = max((w.matched for w in record.wording), default=0)
    matched = f"; distinct-2 and self-BLEU-4 of {texts} responses cut to {words} words" if texts else ""
    title = f"guards: length over the reference's; cut, none, empty in percent{matched}; perplexity by the base model"
    return Table(title, columns, tuple(rows))


def _wording_row(w: WordingRecord, arms: Sequence[ArmRecord], ratio: float | None, marks: str) -> tuple[str, ...]:
    return (
        f"{w.method}{marks}",
        "-" if ratio is None else f"{ratio:.2f}",
        "-" if _cut_is_unknown(arms) else f"{share_of(arms, 'truncated'):.0%}",
        f"{share_of(arms, 'unparsed'):.0%}",
        f"{w.empty / w.responses:.0%}" if w.responses else "-",
        unsigned(w.distinct_2),
        unsigned(w.self_bleu),
        "-" if w.perplexity is None else f"{w.perplexity:.2f}",
    )


def _cut_is_unknown(arms: Sequence[ArmRecord]) -> bool:
    """Whether no response is known to be cut, and some may have been."""
    return any(arm.finish_unknown for arm in arms) and not any(arm.truncated for arm in arms)


def _trainings(report: Report, record: GuardRecord, notes: Footnotes) -> Table | None:
    """One row for each trained method: difficulty of its pairs, drift of the chosen responses, result of training."""
    margins = {m.recipe: m for m in record.margins}
    checkpoints = [c for c in report.checkpoints if c.task == record.task]
    rows = []
    for recipe in dict.fromkeys(c.recipe for c in checkpoints):
        group = [c for c in checkpoints if c.recipe == recipe]
        margin, drift = margins.get(recipe), mean_drift(group)
        below = below_base(report.comparisons, record.task, recipe, _reference(report, record.task))
        warnings = [*pair_warnings(margin), *drift_warnings(drift)]
        warnings += [below_base_warning(below, group, report.alpha)] if below else []
        rows.append(_training_row(recipe + notes.marks(warnings), margin, drift, below))
    if not rows:
        return None
    columns = ("training", "pairs", "first margin", "ranked right", "drift of chosen", "vs reference")
    title = "guards of training: pairs under the base model before it; change of the chosen side's log-probability"
    return Table(title, columns, tuple(rows))


def _training_row(
    name: str, margin: MarginRecord | None, drift: Drift | None, below: ComparisonRecord | None
) -> tuple[str, ...]:
    return (
        name,
        str(margin.pairs) if margin else "-",
        f"{margin.margin:+.2f}" if margin else "-",
        f"{margin.accuracy:.0%}" if margin else "-",
        percent(drift.share) if drift else "-",
        "below" if below else "",
    )


def _overlap(overlap: Sequence[OverlapRecord], notes: Footnotes) -> Table:
    rows = tuple(
        (f"{o.of}{notes.marks(overlap_warnings(o))}", str(o.evaluation), str(o.training), str(o.same), str(o.near))
        for o in overlap
    )
    title = "guards: evaluation against training items, each different text once"
    return Table(title, ("overlap of", "evaluation", "training", "same", "near"), rows)


def _reference(report: Report, task: str) -> str:
    found = report.task(task)
    return found.reference if found else ""
