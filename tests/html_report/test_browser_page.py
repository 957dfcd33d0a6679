"""The whole page in Chromium: hostile texts everywhere, policy, accessibility, print, tables, and no scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from browsing import Visit, go
from html_pages import texts_of
from made_reports import BASE, HOSTILE_MARKUP, WORSE, Made, spoiled_report

from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.page import diff_page
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.diff.to_html import diff_to_html
from mipo_bench.reports.html.report import report_to_html
from mipo_bench.reports.records.report import Report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_to_html(report, texts_of(report))


@pytest.fixture(scope="module")
def small() -> Report:
    return Made(n_math=8, n_users=3).report()


@pytest.fixture(scope="module")
def diff_html() -> str:
    a, b = (replace(made, n_math=8, suites=("math",)).report() for made in (BASE, WORSE))
    found = diff_reports(Side(a, "A"), Side(b, "B"), DiffOptions())
    return diff_to_html(found, diff_page(found, None, None, None))


def walk(opened: Page) -> Iterator[str]:
    """Every screen: sections, a list under each filter, a search, an item, its difference, and the next item."""
    for link in opened.locator("nav a").all():
        link.click()
        yield opened.url
    for show in ("regressed", "seeds", "any"):
        opened.locator("#f-show").select_option(show)
        opened.wait_for_selector(f"#f-show >> option[value={show}]:checked", state="attached")
        yield show
    opened.locator("#f-search").fill("question")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**q=question**")
    opened.locator("a.item").first.click()
    opened.locator("#difference summary").click()
    opened.locator("#next").click()
    opened.wait_for_selector("#item-title")
    yield "item"
    opened.keyboard.press("Escape")
    opened.wait_for_selector("a.item")
    opened.locator("#theme").click()
    yield "theme"


def test_hostile_texts_in_every_field_run_nothing_and_ask_for_nothing(small: Report, visit: Visit) -> None:
    spoiled = spoiled_report(small)
    opened = visit(report_to_html(spoiled, texts_of(spoiled, HOSTILE_MARKUP)))
    assert len(list(walk(opened))) > 8
    assert "<img src=x onerror=a()>" in (opened.locator("h1").text_content() or "")
    assert {url.partition("#")[0] for url in visit.requests} == {opened.url.partition("#")[0]}


def test_trusted_types_stop_markup_that_a_script_makes(page: str, visit: Visit) -> None:
    opened = visit(page)
    made = opened.evaluate(
        "() => { try { document.body.innerHTML = '<b>x'; return 'made'; } catch (e) { return e.name; } }"
    )
    assert made == "TypeError"
    assert opened.evaluate("() => trustedTypes.createPolicy.length") > 0
    message = visit.problems.pop()
    assert "TrustedHTML" in message


def test_every_delta_interval_and_p_stands_in_a_label(report: Report, page: str, visit: Visit) -> None:
    labels = (
        visit(page).locator("svg[role=img]").evaluate_all("nodes => nodes.map((n) => n.getAttribute('aria-label'))")
    )
    for c in report.comparisons:
        if c.delta is not None:
            assert any(
                label.startswith(f"{c.method} vs {c.base}: {c.delta:+.3f}".replace("0.", ".")) for label in labels
            )
    assert len(labels) >= len(report.comparisons) + len(report.estimates)


@pytest.mark.parametrize(
    ("screen", "scheme", "width"),
    [("list", "light", 1280), ("list", "dark", 320), ("item", "light", 320), ("item", "dark", 1280)],
)
def test_axe_finds_nothing(screen: Literal["list", "item"], scheme: str, width: int, visit: Visit) -> None:
    one = Made(suites=("personalized",), n_users=3).report()
    address = f"/item?task=persona&id={one.tasks[0].items[0]}" if screen == "item" else "/items?task=persona"
    page = report_to_html(one, texts_of(one))
    opened = visit(page, address, color_scheme=scheme, viewport={"width": width, "height": 800})
    for summary in opened.locator("#samples summary").all():
        summary.click()
    assert violations(opened, "#samples" if screen == "item" else None) == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_of_a_diff(scheme: str, diff_html: str, visit: Visit) -> None:
    assert violations(visit(diff_html, color_scheme=scheme)) == []


def violations(opened: Page, part: str | None = None) -> list[str]:
    """The violations on the page or in a part of it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(opened, context=part, options=WCAG).response["violations"]
    return [f"{rule['id']}: {[node['html'][:120] for node in rule['nodes'][:3]]}" for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_marks_of_figures_have_contrast(scheme: str, page: str, visit: Visit) -> None:
    opened = visit(page, color_scheme=scheme)
    ground = opened.locator("body").evaluate("n => getComputedStyle(n).backgroundColor")
    read = "n => [getComputedStyle(n).fill, getComputedStyle(n).stroke]"
    assert contrast(opened.locator("svg text.tick").first.evaluate(read)[0], ground) >= 4.5
    for mark in ("path.seed", "line.interval", "circle.mark"):
        assert contrast(opened.locator(f"svg {mark}").first.evaluate(read)[1], ground) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours as `rgb(r, g, b)`."""
    lights = sorted((_luminance(colour) for colour in (one, other)), reverse=True)
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_without_scripts_everything_but_the_samples_is_there(report: Report, page: str, visit: Visit) -> None:
    with_scripts = visit(page).locator("main > .task td").count()
    opened = visit(page, java_script_enabled=False)
    assert "needs scripts" in opened.locator("#browser").inner_text()
    assert opened.locator("main > .task td").count() == with_scripts
    assert opened.locator("main button:visible").count() == 0
    opened.locator("nav a", has_text="persona").click()
    assert opened.locator("#task-2 h2").is_visible()
    assert all(c.method in opened.locator("#summary").inner_text() for c in report.comparisons)


def test_print_has_light_colours_all_sections_and_whole_tables(page: str, visit: Visit) -> None:
    opened = visit(page, color_scheme="dark", viewport={"width": 718, "height": 1000})
    assert opened.pdf(format="A4").startswith(b"%PDF")
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.locator("body").evaluate("n => getComputedStyle(n).backgroundColor") == "rgb(255, 255, 255)"
    hidden = ["nav", "#samples", ".copy >> nth=0", "#status"]
    assert [name for name in hidden if opened.locator(name).first.is_visible()] == []
    assert opened.locator("main > .task").count() == opened.locator("main > .task:visible").count()
    assert opened.locator("main > .task details").evaluate_all("all => all.every((d) => d.open)")
    wide = "nodes => nodes.filter((n) => n.scrollWidth > n.clientWidth + 1).map((n) => n.textContent.slice(0, 60))"
    assert opened.locator("main > .task .wide").evaluate_all(wide) == []


def test_tables_sort_by_figures_and_come_back(report: Report, page: str, visit: Visit) -> None:
    opened = visit(page)
    table = opened.locator("#task-1 table").first
    names = [e.method for e in report.estimates if e.task == "arithmetic"]
    by_score = sorted((e.mean, e.method) for e in report.estimates if e.task == "arithmetic")
    rows = table.locator("tbody th")
    heading = table.get_by_role("button", name="score", exact=True)
    wanted = {"ascending": [name for _, name in by_score], "descending": [name for _, name in reversed(by_score)]}
    before = rows.all_text_contents()
    for way, order in wanted.items():
        heading.press("Enter")
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == way
        assert [re.sub(r"\[\d+\]", "", text) for text in rows.all_text_contents()] == order
    heading.press("Space")
    assert rows.all_text_contents() == before
    assert table.locator("th[aria-sort]").count() == 0
    assert sorted(names) == sorted(wanted["ascending"])


def test_rows_are_sorted_below_their_heading(page: str, visit: Visit) -> None:
    opened = visit(page)
    table = opened.locator("table:has(th.group):has(tbody tr:nth-child(4))").first
    groups = table.locator("tbody th.group").all_text_contents()
    table.get_by_role("button").nth(1).click()
    assert table.locator("tbody th.group").all_text_contents() == groups
    assert table.locator("tbody tr").first.locator("th.group").count() == 1


def test_a_table_is_copied_as_the_other_formats_write_it(page: str, visit: Visit) -> None:
    opened = visit(page, **CLIPBOARD)
    found = {}
    for form in ("Markdown", "CSV", "LaTeX"):
        opened.locator("#task-1 .copy").first.get_by_role("button", name=form).click()
        opened.wait_for_function(f"() => document.getElementById('status').textContent === 'table as {form} copied'")
        found[form] = opened.evaluate("() => navigator.clipboard.readText()")
    cells = opened.locator("#task-1 table").first.locator("tbody tr").first.locator("th, td").all_text_contents()
    assert "| " + " | ".join(cell.strip() for cell in cells[:2]) in found["Markdown"].replace("\\", "")
    assert ",".join(cell.strip() for cell in cells[:2]) in found["CSV"]
    assert r"\begin{tabular}" in found["LaTeX"]


def test_the_keys_are_listed_under_a_question_mark(page: str, visit: Visit) -> None:
    opened = visit(page, "/items")
    opened.keyboard.press("?")
    assert "next and previous item" in opened.locator("#keys").inner_text()
    go(opened, "#/items?task=persona")
