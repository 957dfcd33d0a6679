"""The HTML report as text: policy, escaping, the tables of the other formats, the data blocks, and the same bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from html_pages import blocks_of
from made_reports import BASE, WORSE, Made, spoiled_report
from paths import ROOT

from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.page import diff_page
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.diff.to_html import diff_to_html
from mipo_bench.reports.html.figures import thinned
from mipo_bench.reports.html.items import Choice, chosen_items
from mipo_bench.reports.html.report import report_to_html
from mipo_bench.reports.html.scatter import changes
from mipo_bench.reports.html.shapes import Scale
from mipo_bench.reports.html.table_texts import table_texts
from mipo_bench.reports.numbers import signed
from mipo_bench.reports.pages.page import Table
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import FailureRecord, Report
from mipo_bench.reports.records.report_file import load_report, seal, to_json
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import page_to_markdown


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of each table cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def made() -> Report:
    failure = FailureRecord(task="t", method="m", train_seed=1, stage="training", error="E", message="lost")
    return Made(n_math=12, n_users=4, failures=[failure]).report()


@pytest.fixture(scope="module")
def hostile() -> Report:
    return spoiled_report(made())


@pytest.fixture(scope="module")
def page() -> str:
    return report_to_html(made())


def unpacked(page: str, block: str) -> Any:
    return dict(blocks_of(page))[block]


def test_hostile_names_make_no_elements_and_no_attributes(hostile: Report, page: str) -> None:
    plain, spoiled = Elements(page), Elements(report_to_html(hostile))
    assert {tag for tag, _ in spoiled.found} == {tag for tag, _ in plain.found}
    names = {name for _, attributes in plain.found for name in attributes}
    assert {name for _, attributes in spoiled.found for name in attributes} == names
    assert not [name for name in names if name.startswith("on") or name in ("style", "src", "action", "srcdoc")]


def test_every_link_stays_on_the_page(hostile: Report) -> None:
    links = [attributes["href"] for tag, attributes in Elements(report_to_html(hostile)).found if tag == "a"]
    assert len(links) > 10
    assert [link for link in links if not str(link).startswith("#")] == []


def test_the_policy_comes_first_and_names_this_style_and_this_program(page: str) -> None:
    elements = Elements(page).found
    policy = next(attributes for tag, attributes in elements if tag == "meta" and "http-equiv" in attributes)
    before = [tag for tag, _ in elements[: elements.index(("meta", policy))]]
    assert before == ["html", "head", "meta"]
    for tag in ("style", "script"):
        source = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert source
        expected = base64.b64encode(hashlib.sha256(source[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{expected}'" in str(policy["content"])
    for rule in ("default-src 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"):
        assert rule in str(policy["content"])


def test_the_program_makes_no_markup_and_loads_nothing(page: str) -> None:
    program = page.rpartition("<script>")[2]
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "localStorage"):
        assert word not in program
    assert not re.search(r"https?://", page)


def test_every_figure_of_the_other_formats_stands_in_the_tables() -> None:
    report = made()
    cells = Elements(report_to_html(report)).cells
    for section in report_page(report).sections:
        for table in section.tables:
            for row in table.rows:
                for cell in filter(None, row):
                    text = re.sub(r" \[[0-9,]+\]$", "", cell).strip()
                    assert any(found.strip().startswith(text) for found in cells), (table.title, cell)


def test_every_footnote_is_linked_and_stands_in_its_task() -> None:
    report = made()
    page = report_to_html(report)
    targets = set(re.findall(r'href="#(note-[0-9]+-[0-9]+)"', page))
    assert targets == set(re.findall(r'id="(note-[0-9]+-[0-9]+)"', page))
    assert len(targets) >= len(report_page(report).footnotes) > 0


def test_every_training_seed_has_a_mark() -> None:
    report = made()
    page = report_to_html(report)
    compared = [c for c in report.comparisons if c.per_seed]
    assert compared
    for c in compared:
        for seed, value in c.per_seed:
            assert f"training seed {seed}: {signed(value)}</title>" in page


def test_the_same_report_gives_the_same_bytes(page: str) -> None:
    assert report_to_html(made()) == page


def test_the_index_of_a_task_has_its_scores(page: str) -> None:
    report = made()
    for n, task in enumerate(report.tasks):
        index = unpacked(page, f"index-{n}")
        arms = [arm for arm in report.arms if arm.task == task.name]
        assert index["items"] == task.items
        assert [arm["method"] for arm in index["arms"]] == [arm.method for arm in arms]
        for found, arm in zip(index["arms"], arms, strict=True):
            assert found["scores"] == pytest.approx(arm.scores, abs=1e-5)


def test_the_index_names_items_that_were_cut_unread_or_failed() -> None:
    report = made()
    first = report.tasks[0].items
    arm = report.arms[0].model_copy(
        update={"truncated": [first[3], first[1]], "unparsed": [first[2]], "failed": {first[4]: "generate: lost"}}
    )
    changed = report.model_copy(update={"arms": [arm, *report.arms[1:]]})
    found = unpacked(report_to_html(changed), "index-0")["arms"][0]
    assert (found["cut"], found["none"], found["failed"]) == ([1, 3], [2], {"4": "generate: lost"})


def test_without_trainings_and_without_tasks_there_is_still_a_page() -> None:
    report = made()
    bare: dict[str, list[object]] = {"tasks": [], "arms": [], "checkpoints": [], "estimates": [], "comparisons": []}
    empty = seal(report.model_copy(update=bare))
    assert "Provenance" in report_to_html(empty)


def test_changed_and_failed_items() -> None:
    report = made()
    task = report.tasks[0]
    assert chosen_items(report, task, Choice("all")) == set(task.items)
    primary = next(c for c in report.comparisons if c.task == task.name and c.family == "primary")
    scores = {primary.base: [0.0] * len(task.items), primary.method: [0.0, 0.5, *[0.0] * (len(task.items) - 2)]}
    arms = [a.model_copy(update={"scores": scores.get(a.method, a.scores)}) for a in report.arms]
    assert chosen_items(report.model_copy(update={"arms": arms}), task, Choice("changed")) == {task.items[1]}
    arm = next(a for a in report.arms if a.task == task.name)
    lost = arm.model_copy(update={"truncated": [task.items[0]], "failed": {task.items[1]: "x"}, "unparsed": []})
    others = [a.model_copy(update={"truncated": [], "unparsed": [], "failed": {}}) for a in report.arms if a is not arm]
    assert chosen_items(report.model_copy(update={"arms": [lost, *others]}), task, Choice("failed")) == set(
        task.items[:2]
    )


def test_a_long_curve_keeps_its_spikes() -> None:
    points = [(float(n), 1000.0 if n == 777 else float(n % 7)) for n in range(5000)]
    short = thinned(points)
    assert len(short) <= 400
    assert (777.0, 1000.0) in short
    assert short == sorted(short)


@pytest.mark.parametrize(("low", "high"), [(-0.13, 0.9), (0, 1), (-1e-6, 1e-6), (3, 4000)])
def test_ticks_are_few_round_values_inside_the_scale(low: float, high: float) -> None:
    ticks = Scale(low, high, 0, 100).ticks()
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)


def test_a_diff_has_its_tables_its_changes_and_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(to_json(BASE.report()))
    Path("b.json").write_text(to_json(WORSE.report()))
    html, text = (run(f"diff a.json b.json --gate regression --format {form}", capsys) for form in ("html", "json"))
    assert (html.code, text.code) == (1, 1)
    page = unescape(html.out)
    tested = [arm for arm in json.loads(text.out)["arms"] if arm["state"] == "tested"]
    assert tested
    for arm in tested:
        assert f"{arm['method']}: {signed(arm['comparison']['delta'])}, interval" in page
    assert "gate regression: regression (exit code 1)" in page
    assert "B minus A" in page
    index = dict(blocks_of(html.out))["index-0"]
    assert index["items"] == BASE.report().tasks[0].items
    assert index["pair"] == ["few-shot (A)", "few-shot (B)"]
    assert {arm["method"] for arm in index["arms"]} == {
        f"{arm['method']} ({side})" for arm in tested if arm["task"] == "arithmetic" for side in "AB"
    }


def test_a_diff_of_hostile_reports_makes_no_elements(hostile: Report) -> None:
    other = spoiled_report(Made(n_math=12, n_users=4, gains={"plain": 0.3}).report())
    found = diff_reports(Side(hostile, "<b>A"), Side(other, "B"), DiffOptions())
    page = diff_to_html(found, diff_page(found, None, None, None))
    tags = {tag for tag, _ in Elements(page).found}
    assert tags.isdisjoint({"b", "img", "iframe", "form", "template", "base", "link", "x"})
    assert "<b>A" in unescape(page)


def test_every_table_stands_in_the_page_in_three_formats() -> None:
    report = made()
    tables = unpacked(report_to_html(report), "tables")
    page = report_page(report)
    assert len(tables) == sum(len(section.tables) for section in page.sections)
    markdown, latex = page_to_markdown(page), page_to_latex(page)
    for as_markdown, as_csv, as_latex in tables:
        assert as_markdown.partition("\n\n\\[")[0].rstrip() in markdown
        assert as_latex in latex
        widths = {len(row) for row in csv.reader(as_csv.splitlines())}
        assert len(widths) == 1


def test_a_copied_cell_is_no_formula_and_a_figure_stays_one() -> None:
    table = Table("t", ("method", "delta [1]"), (("=cmd()", "+.123"), ("@x", "-5%"), ("-a", "+1 to +2")))
    _, text, _ = table_texts(table, "chapter", [(1, "a note")])
    assert list(csv.reader(text.splitlines()))[1:] == [["'=cmd()", "+.123"], ["'@x", "-5%"], ["'-a", "'+1 to +2"]]


def test_information_against_score_has_a_point_for_each_item() -> None:
    report = load_report(ROOT / "mipo-bench-report")
    page = report_to_html(report)
    block = next(block for block in report.information if block.changes)
    for change in block.changes:
        points = changes(report, block, change.method)
        assert [point.item for point in points] == block.items
        assert sum(point.nats for point in points) / len(points) == pytest.approx(change.delta, abs=1e-6)
        assert sum(point.score for point in points) / len(points) == pytest.approx(change.score_delta, abs=1e-6)
        point = points[7]
        assert f"<title>{point.item}: {signed(point.nats)} nats, score {signed(point.score)}</title>" in page
