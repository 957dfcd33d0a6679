"""The HTML document of a diff: the page of the other formats, and the change of every tested arm as a figure."""

from __future__ import annotations

from mipo_bench.reports.diff.records import ArmDiff, ReportDiff
from mipo_bench.reports.html.document import Answer, Document, Figures, chapter, render
from mipo_bench.reports.html.figures import Difference, difference_panels
from mipo_bench.reports.pages.page import Page
from mipo_bench.reports.records.report_file import run_id


def diff_to_html(diff: ReportDiff, page: Page) -> str:
    """The whole file; `page` is the diff laid out (`diff_page`)."""
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
        )
    )


def _figures(diff: ReportDiff, task: str) -> Figures:
    changes = [_change(arm) for arm in diff.tested if arm.task == task]
    return Figures(difference_panels(changes, diff.alpha, {"primary": "tested arms, adj. p by Holm over all tasks"}))


def _change(arm: ArmDiff) -> Difference:
    c = arm.comparison
    assert c is not None  # the arm was tested
    return Difference(arm.method, "primary", c.delta, (c.ci_low, c.ci_high), arm.p_holm, c.mde, c.per_seed)
