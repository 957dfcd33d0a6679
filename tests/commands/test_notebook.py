"""A report of the Python API shows itself in a notebook, and its texts stay texts."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_reports import Made

from mipo_bench.harness.api import load_report, write_report
from mipo_bench.reports.records.report import FailureRecord, Report
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.reports.render.notebook import NotebookReport, markdown_to_html

MARKUP = (
    '<script>alert(1)</script><img src=x onerror="a"> [a](javascript:b) ![i](http://x.org/i.png) <http://x.org>'
    " `x` **b** &lt;b&gt; | </td></table> \x1b[31m $x$ https://x.org"
)

PLAIN = {"br", "em", "h1", "h2", "li", "p", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}


class Tags(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile() -> Report:
    failure = FailureRecord(task="persona", method=MARKUP, train_seed=1, stage="training", error="E", message=MARKUP)
    return Made(recipe=MARKUP, failures=[failure]).report()


def test_a_loaded_report_shows_its_tables(tmp_path: Path) -> None:
    write_report(Made().report(), tmp_path)
    report = load_report(tmp_path)
    assert isinstance(report, NotebookReport)
    assert report.model_dump() == Made().report().model_dump()
    page = Tags(report._repr_html_())
    assert {"h1", "h2", "table", "td", "strong"} <= page.tags
    assert "model tiny (aaaaaaaaaa, float32 on cpu)" in page.text
    assert report._repr_markdown_() == to_markdown(report)


def test_a_hostile_report_brings_no_markup(hostile: Report) -> None:
    page = Tags(NotebookReport.of(hostile)._repr_html_())
    assert page.tags <= PLAIN
    assert page.attributes <= {("style", "text-align:right")}
    assert "\x1b" not in page.text
    assert '<script>alert(1)</script><img src=x onerror="a"> [a](javascript:b)' in page.text


def test_markup_that_is_not_escaped_stays_text() -> None:
    page = Tags(markdown_to_html(f"# title\n\n{MARKUP}\n\n<details>\n\n[a]: javascript:b\n"))
    assert page.tags <= PLAIN
    assert page.attributes == set()
    assert "![i](http://x.org/i.png)" in page.text
