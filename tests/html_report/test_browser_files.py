"""Large reports, reports in several files, and the page of a diff, in Chromium."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from browsing import Visit, counted, go, listed
from golden_files import run
from html_pages import texts_of
from large_report import large_report, large_texts
from made_reports import BASE, WORSE

from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.page import diff_page
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.diff.to_html import diff_to_html
from mipo_bench.reports.html.report import report_to_html
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import to_json

pytestmark = pytest.mark.slow


def test_twenty_thousand_items_open_and_filter_at_once(visit: Visit) -> None:
    report = large_report(20_000, 7)
    assert len(report.arms) == 10
    page = report_to_html(report, large_texts(report, 3))
    start = time.monotonic()
    opened = visit(page, "/items?task=arithmetic&base=plain&method=mipo-random")
    first = time.monotonic() - start
    assert len(listed(opened)) == 50
    script = """async () => {
        const index = await indexOf(tasks.get("arithmetic"));
        const asked = new URLSearchParams("base=plain&method=mipo-random&show=regressed");
        const state = read(asked, "arithmetic", index);
        const times = [];
        for (let n = 0; n < 5; n += 1) {
            const start = performance.now();
            chosen(index, state).sort(SORTED.worst[1](index, state));
            times.push(performance.now() - start);
        }
        return Math.min(...times);
    }"""
    assert opened.evaluate(script) < 500
    go(opened, "#/items?task=arithmetic&base=plain&method=mipo-random&show=regressed&sort=worst")
    assert 0 < counted(opened) < 20_000
    children = psutil.Process().children(recursive=True)
    renderers = [child for child in children if "--type=renderer" in child.cmdline()]
    assert sum(child.memory_info().rss for child in renderers) < 1000 * 2**20
    assert first < 30, "two cores that other programs use as well"


def write_split(folder: Path, report: Report) -> Path:
    """The files of a report in several files, as the command writes them."""
    texts = texts_of(report)
    (folder / "texts").mkdir(parents=True)
    (folder / "report.html").write_text(report_to_html(report, texts, split=True), encoding="utf-8")
    for block in filter(lambda block: block.apart, texts.blocks):
        (folder / block.file).write_text(block.program(), encoding="utf-8")
    return folder / "report.html"


def test_several_files_show_the_same_as_one(report: Report, visit: Visit, tmp_path: Path) -> None:
    address = f"/item?task=arithmetic&base=plain&method=mipo-random&id={report.tasks[0].items[70]}"
    split = write_split(tmp_path / "split", report)
    one, several = visit(report_to_html(report, texts_of(report)), address), visit(split, address)
    texts = [opened.locator("#browser").inner_text() for opened in (one, several)]
    assert texts[0] == texts[1]
    assert "Question" in texts[0]
    go(several, "#/items?task=arithmetic&q=question+arithmetic-07")
    assert listed(several) == [f"arithmetic-07{n}" for n in range(10)]
    policy = "meta[http-equiv=Content-Security-Policy]"
    assert "trusted-types files" in (several.locator(policy).get_attribute("content") or "")
    refused = several.evaluate("() => { try { filePolicy.createScriptURL('../x.js'); } catch (e) { return e.name; } }")
    assert refused == "TypeError"


@pytest.mark.parametrize("way", ["missing", "changed"])
def test_a_file_that_is_missing_or_changed_is_said(way: str, report: Report, visit: Visit, tmp_path: Path) -> None:
    split = write_split(tmp_path / "split", report)
    first = split.parent / "texts" / "0-0.js"
    if way == "missing":
        first.unlink()
    else:  # as long as before
        first.write_text(texts_of(report, "A").blocks[0].program())
        split.write_text(report_to_html(report, texts_of(report, "B"), split=True), encoding="utf-8")
    opened = visit(split, f"/item?task=arithmetic&id={report.tasks[0].items[0]}")
    assert "The texts of this item cannot be read" in (opened.locator("#browser").text_content() or "")
    if way == "missing":  # the browser itself says so in its console
        assert [problem for problem in visit.problems if "ERR_FILE_NOT_FOUND" not in problem] == []
        visit.problems.clear()


def test_the_page_of_a_diff_lists_the_items_that_moved(visit: Visit) -> None:
    a, b = BASE.report(), WORSE.report()
    found = diff_reports(Side(a, "A"), Side(b, "B"), DiffOptions())
    opened = visit(diff_to_html(found, diff_page(found, None, None, None)))
    arm = next(arm for arm in found.tested if arm.method == "plain")
    assert arm.regressed
    opened.locator("a.browse", has_text="plain").first.click()
    opened.wait_for_url("**base=plain+%28A%29&method=plain+%28B%29**")
    opened.locator("#f-show").select_option("regressed")
    opened.wait_for_url("**show=regressed**")
    opened.wait_for_function("(n) => document.querySelectorAll('a.item').length === n", arg=min(50, len(arm.regressed)))
    assert counted(opened) == len(arm.regressed)
    assert set(listed(opened)) <= {change.item for change in arm.regressed}


def test_an_added_arm_and_a_changed_scorer_stand_in_the_page_of_a_diff(visit: Visit) -> None:
    a, b = BASE.report(), BASE.report()
    b = b.model_copy(update={"tasks": [b.tasks[0], b.tasks[1].model_copy(update={"scorer_hash": "scorer-2"})]})
    a = a.model_copy(update={"arms": [arm for arm in a.arms if arm.method != "few-shot"]})
    found = diff_reports(Side(a, "A"), Side(b, "B"), DiffOptions())
    text = visit(diff_to_html(found, diff_page(found, None, None, None))).locator("main").inner_text()
    assert "only in B" in text
    assert "the scorer has changed" in text


def test_the_command_writes_a_folder_that_opens(
    report: Report, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.json").write_text(to_json(report))
    printed = run("html report.json --split made --responses all", capsys)
    assert printed.code == 0, printed.err
    assert len(listed(visit(tmp_path / "made" / "report.html"))) == 50
