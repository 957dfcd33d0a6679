"""Lays out the judges and the shuffled-profile control of a report as tables; `check-judge` uses `checks` too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipo_bench.reports.numbers import interval, p_marked, p_text, plural, signed, unsigned
from mipo_bench.reports.pages.page import Footnotes, Table
from mipo_bench.reports.records.judges import ControlRecord, JudgedArmRecord, JudgeRecord
from mipo_bench.reports.records.report import Report

_STAMPS = ("judge_not_validated", "judge_family", "judge_requests", "verdicts_lost")
"""Codes of the caveats that are printed at the head of a report, before any figure."""


def head_warnings(report: Report) -> list[str]:
    """The warnings about judges at the head of a report."""
    return [f"{j.task}: {w.message}" for j in report.judges for w in j.warnings if w.code in _STAMPS]


def judge_tables(report: Report, task: str, notes: Footnotes) -> Iterable[Table]:
    """The tables of a task's judge and of its shuffled-profile control; none if it has neither."""
    for judge in report.judges:
        if judge.task == task:
            reference = next((t.reference for t in report.tasks if t.name == task), "")
            yield _wins(judge, reference, notes)
            yield _lengths(judge, notes)
            yield checks(judge)
    found = [c for c in report.controls if c.task == task]
    if found:
        yield _control(found, report.alpha, notes)


_HOW = {
    "pairwise": "pairwise, both orders",
    "pointwise": "rated one by one from 1 to 5",
    "checks": "questions about each response",
}


def _wins(judge: JudgeRecord, reference: str, notes: Footnotes) -> Table:
    """Wins, ties and losses over items and training seeds; a strict win or loss is the same in both orders."""
    pairwise = judge.protocol == "pairwise"
    how = _HOW[judge.protocol]
    title = f"wins over {reference} (.5 by definition), judged by {judge.name}, {how}{notes.marks(judge.warnings)}"
    columns = ("arm", "win rate", "won/tied/lost", "strict", *(["reversed"] if pairwise else []), "unread")
    rows = tuple(_wins_of(arm, notes, pairwise=pairwise) for arm in judge.arms)
    return Table(title, columns, rows)


def _wins_of(arm: JudgedArmRecord, notes: Footnotes, *, pairwise: bool) -> tuple[str, ...]:
    """One row of the wins; an arm without any verdict has no figures, because its scores are ties of no meaning."""
    untestable = [w for w in arm.warnings if w.code == "untestable"]
    if untestable:
        return (
            f"{arm.method}{notes.marks(untestable)}",
            "-",
            "-",
            "-",
            *(["-"] if pairwise else []),
            str(arm.undecided),
        )
    return (
        arm.method,
        unsigned(arm.win_rate),
        "-" if arm.wins is None else f"{arm.wins}/{arm.ties}/{arm.losses}",
        unsigned(arm.strict),
        *(["-" if arm.reversals is None else str(arm.reversals)] if pairwise else []),
        str(arm.undecided),
    )


def _lengths(judge: JudgeRecord, notes: Footnotes) -> Table:
    """The win rates at equal lengths, because longer responses tend to win."""
    columns = ("arm", "win rate", "interval", "tokens", "vs")
    rows = tuple(
        (
            f"{arm.method}{notes.marks(arm.warnings)}",
            unsigned(arm.length_controlled),
            interval(arm.length_low, arm.length_high, unsigned),
            f"{arm.mean_tokens:.0f}",
            f"{arm.reference_tokens:.0f}",
        )
        for arm in judge.arms
    )
    return Table("the same at equal length (tokens: the arm's, vs: the reference's)", columns, rows)


def checks(judge: JudgeRecord) -> Table:
    """The judge's own figures: unread verdicts, consistency between orders and repeats, agreement with labels."""
    rows = [("verdicts asked for", f"{judge.calls:,}", "", ""), ("settled by rule", f"{judge.settled:,}", "", "")]
    rows.append(("not read, after one retry", _share(judge.unread, judge.calls), "", str(judge.calls)))
    c = judge.consistency
    if c is not None and judge.protocol == "pairwise":
        items = str(c.n_items)
        rows += [
            ("same verdict in both orders", unsigned(c.consistent), "", items),
            ("kappa between the orders", signed(c.kappa), interval(c.kappa_low, c.kappa_high, signed), items),
            ("first place chosen", unsigned(c.first_share), f"p {p_text(c.first_p)}", items),
        ]
    if c is not None:
        rows.append(("same verdict when asked again", unsigned(c.retest_agreement), "", str(c.n_retest)))
    for other in judge.agreements:
        rows += [
            (f"same winner as {other.judge}", unsigned(other.same), "", str(other.n_items)),
            (
                f"kappa with {other.judge}",
                signed(other.kappa),
                interval(other.kappa_low, other.kappa_high, signed),
                str(other.n_items),
            ),
        ]
    v = judge.validation
    if v is not None:
        rows += [
            (f"kappa with the labels of {v.labels}", signed(v.kappa), interval(v.kappa_low, v.kappa_high, signed), ""),
            (
                f"accuracy on {plural(v.n_items, 'label')}",
                unsigned(v.accuracy),
                interval(v.accuracy_low, v.accuracy_high, unsigned),
                "",
            ),
        ]
    return Table("quality of the judge", ("judge", "figure", "interval or p", "n"), tuple(rows))


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if total else str(count)


def _control(found: Sequence[ControlRecord], alpha: float, notes: Footnotes) -> Table:
    title = (
        f"shuffled-profile control: gain over {found[0].base} with the user's own profile and with another user's; "
        "a gain that remains with another's is not personalization"
    )
    columns = ("arm", "own", "other's", "difference", "interval", "p", "adj. p", "MDE")
    rows = tuple(
        (
            f"{c.method}{notes.marks(c.warnings)}",
            signed(c.gain),
            signed(c.shuffled_gain),
            signed(c.difference),
            interval(c.ci_low, c.ci_high, signed),
            p_text(c.p_value),
            p_marked(c.p_adjusted, alpha),
            unsigned(c.mde),
        )
        for c in found
    )
    return Table(title, columns, rows)
