"""The HTML document of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

from mipo_bench.reports.html.blocks import Block, index_blocks
from mipo_bench.reports.html.document import Answer, Chapter, Document, Figures, chapter, render
from mipo_bench.reports.html.figures import forest, scores, training_figures, verdict
from mipo_bench.reports.html.scatter import scatters
from mipo_bench.reports.pages.page import Page
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import run_id

_NO_TEXTS = "This file has no prompts and no responses; `mipo-bench html --responses all` makes one with them."


@dataclass(frozen=True, slots=True)
class Texts:
    """Blocks with the texts of items, what the file says that it holds, and notes on texts that are missing."""

    blocks: Sequence[Block] = ()
    holds: str = _NO_TEXTS
    notes: Sequence[str] = ()


def report_to_html(report: Report, texts: Texts | None = None, *, split: bool = False) -> str:
    """The whole file. Without `texts` its sample browser shows scores alone.

    With `split` the blocks of texts are left out: the page loads each one from `Block.file` beside it.
    """
    page, found = report_page(report), texts or Texts()
    document = Document(
        title=f"mipo-bench report: {report.model.name}",
        subtitle=f"run {run_id(report)}, {report.created}",
        head=[*page.head, found.holds, *(f"! {note}" for note in found.notes)],
        answers=_answers(report, page),
        chapters=[_chapter(report, page, n) for n in range(len(report.tasks))],
        alpha=report.alpha,
        facts=list(_facts(report)),
        folded=list(_folded(report)),
        blocks=[*index_blocks(report), *found.blocks],
        split=split,
    )
    return render(document)


def _chapter(report: Report, page: Page, index: int) -> Chapter:
    task = report.tasks[index].name
    figures = Figures(
        forest(report, task), scores(report, task), scatters(report, task), training_figures(report, task)
    )
    return chapter(page, index + 1, task, figures)


def _answers(report: Report, page: Page) -> list[Answer]:
    """The conclusions; the first ones are those of the primary comparisons, in the same order."""
    primary = [c for c in report.comparisons if c.family == "primary"]
    tested = [
        Answer(text, verdict(c, report.alpha), (c.task, c.base, c.method))
        for text, c in zip(page.conclusions, primary, strict=False)
    ]
    return [*tested, *(Answer(text) for text in page.conclusions[len(primary) :])]


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    model, code = report.model, report.provenance
    yield (
        "Report",
        f"run {run_id(report)}, made {report.created}, schema {report.schema_version}, digest {report.digest}",
    )
    yield "Model", f"{model.name}, digest {model.digest}, backend {model.backend}, {model.dtype} on {model.device}"
    changed = " with changes that are not committed" if code.dirty else ""
    yield "Code", f"commit {code.commit}{changed}" if code.commit else "no commit"
    yield "Versions", ", ".join(f"{name} {version}" for name, version in code.versions.items())
    yield "Hardware", ", ".join(f"{name} {value}" for name, value in code.hardware.items())


def _folded(report: Report) -> Iterable[tuple[str, str]]:
    trained = [f"{k.task}: {k.recipe}, training seed {k.train_seed}, digest {k.digest}" for k in report.checkpoints]
    if trained:
        yield f"Checkpoints ({len(trained)})", "\n".join(trained)
    yield "Settings", yaml.safe_dump(report.config, sort_keys=False, allow_unicode=True)
