"""The HTML document of a diff: the page of the other formats, the changes as a figure, and the items of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mipo_bench.reports.diff.matching import match_items
from mipo_bench.reports.diff.records import ArmDiff, ReportDiff, Side
from mipo_bench.reports.html.blocks import Block, IndexArm, index_block
from mipo_bench.reports.html.document import Answer, Document, Figures, chapter, render
from mipo_bench.reports.html.figures import Difference, difference_panels
from mipo_bench.reports.pages.page import Page
from mipo_bench.reports.records.report_file import run_id


@dataclass(frozen=True, slots=True)
class Samples:
    """The items of a task that match, and the tested arms of both sides.

    `a` and `b` have the numbers of the arms in their report. In the browser the arms of A stand before those of B.
    """

    items: Sequence[str]
    users: Sequence[str] | None
    a: Sequence[tuple[int, IndexArm]]
    b: Sequence[tuple[int, IndexArm]]


def diff_to_html(diff: ReportDiff, page: Page, texts: Iterable[Block] = ()) -> str:
    """The whole file; `page` is the diff laid out (`diff_page`), `texts` has texts of the items of `samples`."""
    chapters = [chapter(page, n, task.name, _figures(diff, task.name)) for n, task in enumerate(diff.tasks, start=1)]
    facts = [(name, f"{side.title}: {side.report.digest}") for name, side in (("A", diff.a), ("B", diff.b))]
    return render(
        Document(
            title=page.title,
            subtitle=f"{diff.a.title} ({run_id(diff.a.report)}) to {diff.b.title} ({run_id(diff.b.report)})",
            head=page.head,
            answers=[Answer(text) for text in page.conclusions],
            chapters=chapters,
            alpha=diff.alpha,
            measured="B minus A",
            facts=facts,
            blocks=[*_index(diff), *texts],
        )
    )


def samples(diff: ReportDiff, task: str) -> Samples:
    """The items and arms of a task in the sample browser."""
    a, b = (side.report.task(task) for side in (diff.a, diff.b))
    assert a is not None  # the tasks of a diff are in both reports
    assert b is not None
    found = match_items(a, b)
    users = None if found.users is None else [str(user) for user in found.users]
    tested = [arm.method for arm in diff.tested if arm.task == task]
    left = list(_arms(diff.a, "A", task, tested, [int(n) for n in found.a]))
    right = list(_arms(diff.b, "B", task, tested, [int(n) for n in found.b]))
    return Samples([str(item) for item in found.items], users, left, right)


def _arms(
    side: Side, name: str, task: str, methods: Sequence[str], places: Sequence[int]
) -> Iterable[tuple[int, IndexArm]]:
    for n, arm in enumerate(side.report.arms):
        if arm.task == task and arm.method in methods:
            yield n, IndexArm(_label(arm.method, name), arm, places)


def _label(method: str, side: str) -> str:
    return f"{method} ({side})"


def _index(diff: ReportDiff) -> Iterable[Block]:
    for n, task in enumerate(diff.tasks):
        found = samples(diff, task.name)
        changed = next((arm.method for arm in diff.tested if arm.task == task.name), None)
        pair = [_label(changed, "A"), _label(changed, "B")] if changed is not None else None
        yield index_block(n, found.items, found.users, [arm for _, arm in (*found.a, *found.b)], {"pair": pair})


def _figures(diff: ReportDiff, task: str) -> Figures:
    changes = [_change(arm) for arm in diff.tested if arm.task == task]
    return Figures(difference_panels(changes, diff.alpha, {"primary": "tested arms, adj. p by Holm over all tasks"}))


def _change(arm: ArmDiff) -> Difference:
    c = arm.comparison
    assert c is not None  # the arm was tested
    pair = (arm.task, _label(arm.method, "A"), _label(arm.method, "B"))
    return Difference(arm.method, "primary", c.delta, (c.ci_low, c.ci_high), arm.p_holm, c.mde, c.per_seed, pair)
