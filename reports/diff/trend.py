"""Lays out past reports as a list, and the trend of one arm through them, for `mipo-bench history`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mipo_bench.harness.errors import NotComparableError, ReportError, unknown
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.records import ArmDiff, DiffOptions, Side
from mipo_bench.reports.numbers import interval, p_marked, p_text, signed, unsigned
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table
from mipo_bench.reports.records.report import ComparisonRecord, EstimateRecord, Report

_BAR = 14


@dataclass(frozen=True, slots=True)
class PastReport:
    """A committed report or a run. `report` is None if it cannot be read; `problem` then says why."""

    name: str
    date: str
    subject: str
    report: Report | None
    problem: str = ""

    @property
    def order(self) -> datetime:
        """The time of the commit or of the run, with its time zone."""
        moment = datetime.fromisoformat(self.date)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def day(self) -> str:
        """The date in UTC."""
        return self.order.astimezone(UTC).strftime("%Y-%m-%d")


def history_page(past: Sequence[PastReport]) -> Page:
    """Every report with its headline: the primary comparisons."""
    notes = Footnotes()
    columns = ("report", "date", "made at", "model", "suites")
    rows = tuple(_row(p, notes) for p in past)
    headlines = tuple(line for p in past for line in _headline(p))
    headline_columns = ("report", "comparison", "delta", "adj. p")
    grids = [Table("", columns, rows)]
    if headlines:
        grids.append(Table("primary comparisons", headline_columns, headlines))
    return Page("mipo-bench history", (), (Section("reports, the oldest first", tuple(grids)),), tuple(notes.texts))


def _row(past: PastReport, notes: Footnotes) -> tuple[str, ...]:
    if past.report is None:
        return (f"{past.name}{notes.marks([past.problem])}", past.day, "unreadable", "", "")
    r = past.report
    commit = f"{r.provenance.commit[:7]}{'*' if r.provenance.dirty else ''}" if r.provenance.commit else "-"
    model = f"{r.model.name.rstrip('/').rsplit('/', maxsplit=1)[-1][:12]} {r.model.digest[:6]}"
    return (past.name, past.day, commit, model, ", ".join(dict.fromkeys(task.suite for task in r.tasks)))


def _headline(past: PastReport) -> Iterable[tuple[str, ...]]:
    primary = [c for c in past.report.comparisons if c.family == "primary"] if past.report else []
    if past.report and primary:
        subject = f" {past.subject}" if past.subject else ""
        yield (f"{past.name}{subject}", "", "", "")
        for c in primary:
            yield (f" {c.task}", f"{c.method} vs {c.base}", signed(c.delta), _p(c, past.report.alpha))


def _p(c: ComparisonRecord, alpha: float) -> str:
    return p_marked(c.p_adjusted, alpha)


def trend_page(past: Sequence[PastReport], arm: str) -> Page:
    """The score of one arm in every report, and its paired difference from the report before.

    Raises ReportError if no report has the arm.
    """
    shown = [p for p in past if p.report and _estimate(p.report, arm)]
    if not shown:
        arms = {f"{e.task}/{e.method}" for p in past if p.report for e in p.report.estimates}
        raise ReportError(f"no report has this arm: {unknown('arm', arm, arms)}")
    notes = Footnotes()
    rows = [_trend_row(before, now, arm, notes) for before, now in zip([None, *shown], shown, strict=False)]
    columns = ("report", "score", "interval", "delta", "p", "0    score    1")
    section = Section(f"{arm}, the oldest first", (Table("", columns, tuple(rows)),))
    head = ("delta and p: from the report above, paired on the items that match; p not adjusted (exploratory)",)
    return Page("mipo-bench history", head, (section,), tuple(notes.texts))


def _estimate(report: Report, arm: str) -> EstimateRecord | None:
    return next((e for e in report.estimates if f"{e.task}/{e.method}" == arm), None)


def _trend_row(before: PastReport | None, now: PastReport, arm: str, notes: Footnotes) -> tuple[str, ...]:
    assert now.report is not None
    estimate = _estimate(now.report, arm)
    assert estimate is not None
    change, problem = _change(before, now, arm) if before else (None, "")
    c = change.comparison if change else None
    mark = notes.marks([problem]) if problem else ""
    return (
        f"{now.name} {now.day}{mark}",
        unsigned(estimate.mean),
        interval(estimate.ci_low, estimate.ci_high, unsigned),
        signed(c.delta) if c else ("x" if before else ""),
        p_text(c.p_value) if c else "",
        _bar(estimate.mean),
    )


def _change(before: PastReport, now: PastReport, arm: str) -> tuple[ArmDiff | None, str]:
    """The arm's difference from the report before; None, with the reason, if the two cannot be compared."""
    assert before.report is not None
    assert now.report is not None
    try:
        found = diff_reports(Side(before.report, "A"), Side(now.report, "B"), DiffOptions(arms=(_literal(arm),)))
    except NotComparableError as error:
        return None, str(error)
    change = found.arms[0]
    return change, change.reason


def _literal(pattern: str) -> str:
    """A pattern that matches this text only."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in pattern)


def _bar(score: float) -> str:
    """A line from 0 to 1 with a mark at the score."""
    at = round(min(1.0, max(0.0, score)) * _BAR)
    return "·" * at + "●" + "·" * (_BAR - at)
