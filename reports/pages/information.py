"""Lays out the mutual information of a report as tables and as sentences for its conclusions."""

from __future__ import annotations

from collections.abc import Iterable

from mipo_bench.reports.numbers import interval, plural, signed
from mipo_bench.reports.pages.page import Footnotes, Table
from mipo_bench.reports.records.information import (
    InformationChangeRecord,
    InformationEstimateRecord,
    InformationRecord,
)
from mipo_bench.reports.records.report import Report

_OWN_RESPONSES = "nats; own: scored by the model that gave the response, base: by the base model"


def information_tables(report: Report, task: str, notes: Footnotes) -> Iterable[Table]:
    """The estimates of each block of a task, and the changes by training if something was trained."""
    for block in report.information:
        if block.task == task:
            yield _estimates(block, notes)
            if block.changes:
                yield _changes(block, notes)


def information_conclusions(report: Report) -> Iterable[str]:
    """One sentence for each trained method: the change of the information, and whether the score moved with it."""
    for block in report.information:
        about = "the user" if block.over == "contexts" else "the prompt"
        for c in block.changes:
            moved, scored = _moved(c.ci_low, c.ci_high), _moved(c.score_low, c.score_high)
            size = f"{nats(c.delta, sign=True)} nats, {interval(c.ci_low, c.ci_high, _signed)}"
            yield (
                f"{block.task}: the information of responses about {about} {_WORDS[moved]} with {c.method} ({size}); "
                f"the score {_together(moved, scored)} ({signed(c.score_delta)} on these items)."
            )


_WORDS = {1: "rises", -1: "falls", 0: "does not change measurably"}


def _together(information: int, score: int) -> str:
    if not information:
        return {1: "rises without it", -1: "falls without it", 0: "does not move either"}[score]
    if not score:
        return "does not follow measurably"
    return "moves with it" if information == score else "moves against it"


def _moved(low: float | None, high: float | None) -> int:
    """1 if the interval lies above 0, -1 if below, else 0."""
    if low is None or high is None:
        return 0
    return (low > 0) - (high < 0)


def _estimates(block: InformationRecord, notes: Footnotes) -> Table:
    most = block.contexts[-1]
    cells = dict.fromkeys((e.method, e.weights) for e in block.estimates)
    rows = []
    for method, weights in cells:
        found = [e for e in block.estimates if (e.method, e.weights) == (method, weights)]
        rows.append(_estimate(found, block.contexts, notes))
    columns = ("responses of", "by", *(f"K={k}" for k in block.contexts), "interval", f"NCE {most}", "ceiling")
    return Table(f"{_title(block)}, {_OWN_RESPONSES}", columns, tuple(rows))


def _title(block: InformationRecord) -> str:
    over = "user" if block.over == "contexts" else "prompt"
    sampled = f", sampled at temperature {block.temperature:g}" if block.temperature is not None else ""
    estimate = f"log p - log mean p under K other {over}s"
    return f"information of responses about their {over}: {estimate}{sampled}, {_size(block)}"


def _size(block: InformationRecord) -> str:
    left = f" ({block.left_out} left out)" if block.left_out else ""
    return plural(len(block.items), "item") + left


def _estimate(found: list[InformationEstimateRecord], contexts: list[int], notes: Footnotes) -> tuple[str, ...]:
    last = found[-1]
    means = {e.contexts: e.mean for e in found}
    return (
        f"{last.method}{notes.marks(last.warnings)}",
        last.weights,
        *(nats(means.get(k)) for k in contexts),
        interval(last.ci_low, last.ci_high, nats),
        nats(last.nce),
        nats(last.ceiling),
    )


def _changes(block: InformationRecord, notes: Footnotes) -> Table:
    columns = ("training", "change", "interval", "by base", "interval", "score", "rho")
    title = (
        f"change from {block.reference} (K={block.contexts[-1]}; by base: both scored by the base model; score: on "
        "these items; rho: rank correlation of both changes over items)"
    )
    return Table(title, columns, tuple(_change(c, notes) for c in block.changes))


def _change(c: InformationChangeRecord, notes: Footnotes) -> tuple[str, ...]:
    return (
        f"{c.method}{notes.marks(c.warnings)}",
        _signed(c.delta),
        interval(c.ci_low, c.ci_high, _signed),
        _signed(c.text_delta),
        interval(c.text_low, c.text_high, _signed),
        signed(c.score_delta),
        "-" if c.rank_correlation is None else f"{c.rank_correlation:+.2f}",
    )


def nats(value: float | None, *, sign: bool = False) -> str:
    """A number of nats with two decimals."""
    if value is None:
        return "-"
    return f"{value:+.2f}" if sign else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return nats(value, sign=True)
