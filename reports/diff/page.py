"""Lays out a diff as a page: a table for each task, the items that do not match, and the result of the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mipo_bench.reports.diff.gate import WORDS, Gate, GateResult
from mipo_bench.reports.diff.records import ArmDiff, ItemChange, ReportDiff, Side, TaskDiff
from mipo_bench.reports.numbers import interval, p_marked, p_text, percent, plural, signed, unsigned
from mipo_bench.reports.pages.page import Entry, Footnotes, Listing, Page, Quote, Section, Table

COLUMNS = ("method", "A", "delta", "interval", "rel.", "p", "Holm", "MDE")
_QUOTED = 1200
"""Characters of a quoted text. A comment on GitHub has room for 65,536."""
_NAMED = 20
"""Number of items of a list that are named; the JSON form names all."""

Texts = Callable[[ArmDiff, str], Sequence[Quote]]
"""(arm, item) -> the prompt, and the responses of both sides."""


@dataclass(frozen=True, slots=True)
class ItemLists:
    """Settings of the lists of improved and regressed items: at most `limit` of each kind and arm, with their texts."""

    limit: int
    texts: Texts


def diff_page(diff: ReportDiff, gate: Gate | None, gate_result: GateResult | None, items: ItemLists | None) -> Page:
    """Lay out a diff."""
    notes = Footnotes()
    sections = tuple(_section(diff, task, notes, items) for task in diff.tasks)
    answers = (*_summary(diff), *(_gate_lines(gate, gate_result) if gate and gate_result else ()))
    return Page("mipo-bench diff", _head(diff), sections, tuple(notes.texts), answers)


def _head(diff: ReportDiff) -> tuple[str, ...]:
    lines = [f"A  {_side(diff.a)}", f"B  {_side(diff.b)}"]
    count = len(diff.tested)
    unit = "users" if diff.average == "macro" else "items"
    lines.append(
        f"delta = B - A on the items that match ({unit} weigh equally); intervals at {1 - diff.alpha:.0%}; "
        f"Holm over {plural(count, 'arm')}; ~ not significant, x not comparable"
    )
    if any("*" in side.title[-1:] for side in (diff.a, diff.b)):
        lines.append("* the report, or the checkout it was made in, has changes that are not committed")
    lines += [f"! {note}" for note in diff.notes]
    for where, names in (("A", diff.only_a), ("B", diff.only_b)):
        lines += [f"! only in {where}: {', '.join(names)}"] if names else []
    return tuple(lines)


def _side(side: Side) -> str:
    r = side.report
    commit = f"commit {r.provenance.commit[:7]}{'*' if r.provenance.dirty else ''}" if r.provenance.commit else ""
    made = f"made {r.created[:16].replace('T', ' ')}{' at ' if commit else ''}{commit}"
    return f"{side.title}: {made}, model {r.model.name} ({r.model.digest[:10]})"


def _section(diff: ReportDiff, task: TaskDiff, notes: Footnotes, items: ItemLists | None) -> Section:
    arms = [arm for arm in diff.arms if arm.task == task.name]
    rows = tuple(_row(arm, diff.alpha, notes) for arm in arms)
    lists = [*_unmatched(task), *(listing for arm in arms if items for listing in _moved(arm, items))]
    return Section(_title(task), (Table(_subtitle(task), COLUMNS, rows),), tuple(lists))


def _title(task: TaskDiff) -> str:
    users = f" of {plural(task.n_users, 'user')}" if task.n_users is not None else ""
    parts = [f"{plural(task.n_matching, 'item')}{users} match"]
    counts = (("added", task.added), ("removed", task.removed), ("changed", task.changed))
    parts += [f"{len(names)} {change}" for change, names in counts if names]
    return f"{task.name} ({task.suite}): {', '.join(parts)}"


def _subtitle(task: TaskDiff) -> str:
    """The measured noise floor; empty if neither side has one."""
    if task.noise_a is None and task.noise_b is None:
        return ""
    return f"noise floor (same arm, another sampling seed): {signed(task.noise_a)} in A, {signed(task.noise_b)} in B"


def _row(arm: ArmDiff, alpha: float, notes: Footnotes) -> tuple[str, ...]:
    c = arm.comparison
    if c is None:
        sign = {"added": "new", "removed": "gone", "not comparable": "x"}[arm.state]
        return (f"{arm.method}{notes.marks([arm.reason])}", "", sign, *[""] * (len(COLUMNS) - 3))
    seeds = f" x{c.n_seeds}" if c.n_seeds else ""
    return (
        f"{arm.method}{seeds}{notes.marks(arm.warnings)}",
        unsigned(c.base_mean),
        signed(c.delta),
        interval(c.ci_low, c.ci_high, signed),
        percent(c.relative_delta),
        p_text(c.p_value),
        p_marked(arm.p_holm, alpha),
        unsigned(c.mde),
    )


def _unmatched(task: TaskDiff) -> Iterable[Listing]:
    """Added, removed and changed items by name."""
    changed = [f"{c.item}: {c.what} changed" for c in task.changed]
    for change, names in (("added in B", task.added), ("removed in B", task.removed), ("changed", changed)):
        if names:
            yield Listing(f"{plural(len(names), 'item')} {change}", tuple(Entry(n) for n in _first(names)), inline=True)


def _first(names: Sequence[str]) -> list[str]:
    more = [f"... and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return [*names[:_NAMED], *more]


def _moved(arm: ArmDiff, items: ItemLists) -> Iterable[Listing]:
    for direction, changes in (("regressed", arm.regressed), ("improved", arm.improved)):
        if changes:
            entries = [_entry(arm, change, items.texts) for change in changes[: items.limit]]
            rest = len(changes) - len(entries)
            entries += [Entry(f"... and {rest} more")] if rest else []
            yield Listing(f"{arm.name}: {plural(len(changes), 'item')} {direction}", tuple(entries))


def _entry(arm: ArmDiff, change: ItemChange, texts: Texts) -> Entry:
    quotes = tuple(_short(quote) for quote in texts(arm, change.item))
    return Entry(f"{change.item}: {unsigned(change.a)} -> {unsigned(change.b)}", quotes)


def _short(quote: Quote) -> Quote:
    """The quote, cut to `_QUOTED` characters."""
    rest = len(quote.text) - _QUOTED
    return quote if rest <= 0 else Quote(quote.label, f"{quote.text[:_QUOTED]} ... ({rest} more characters)")


def _summary(diff: ReportDiff) -> Iterable[str]:
    """The significant changes in words; if there are none, the smallest detectable differences."""
    significant = [arm for arm in diff.tested if arm.p_holm is not None and arm.p_holm < diff.alpha]
    for arm in significant:
        if arm.comparison:
            word = "better" if arm.comparison.delta > 0 else "worse"
            yield f"{arm.name} is {word}: {signed(arm.comparison.delta)} (Holm-adjusted p {p_text(arm.p_holm)})"
    if not significant and diff.tested:
        sizes = [arm.comparison.mde for arm in diff.tested if arm.comparison and arm.comparison.mde is not None]
        seen = f"; smallest detectable differences are {_range(sizes)}" if sizes else ""
        yield f"no arm is distinguishable between A and B{seen}"
    skipped = sum(arm.state == "not comparable" for arm in diff.arms)
    if skipped:
        yield f"{plural(skipped, 'arm')} could not be compared (x)"


def _range(sizes: Sequence[float]) -> str:
    low, high = unsigned(min(sizes)), unsigned(max(sizes))
    return low if low == high else f"{low} to {high}"


def _gate_lines(gate: Gate, gate_result: GateResult) -> Iterable[str]:
    yield f"gate {gate.kind}: {WORDS[gate_result.code]} (exit code {gate_result.code})"
    yield from (f"  {reason}" for reason in _first(gate_result.reasons))
    if gate_result.earlier_failures:
        runs = ", ".join(f"run {name}" for name in _first(gate_result.earlier_failures))
        yield f"  passed by trying again: {runs} of the same code, on the same items, failed this gate against A"
