"""A report that shows itself in a notebook (Jupyter and others) when it is the value of a cell."""

from __future__ import annotations

from mipo_bench.reports.records.report import Report
from mipo_bench.reports.render.markdown import to_markdown


class NotebookReport(Report):
    """A report with the two methods that IPython asks for. In everything else it is the report."""

    @classmethod
    def of(cls, report: Report) -> NotebookReport:
        """The same report; its values are not checked again."""
        return cls.model_construct(report.model_fields_set, **dict(report))

    def _repr_markdown_(self) -> str:
        """The whole report as Markdown, in which every text of the report is escaped."""
        return to_markdown(self)

    def _repr_html_(self) -> str:
        """The Markdown as HTML."""
        return markdown_to_html(to_markdown(self))


def markdown_to_html(text: str) -> str:
    """Headings, lists, tables and emphasis of a Markdown text as HTML.

    No HTML of the text, no link and no image passes: should an escape fail, the page still loads and runs nothing.
    """
    from markdown_it import MarkdownIt

    known = ["heading", "list", "table", "emphasis", "escape", "entity", "newline"]
    return str(MarkdownIt("zero", {"html": False}).enable(known).render(text))
