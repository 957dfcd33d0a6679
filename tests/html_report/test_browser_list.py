"""The list of items in Chromium: filters and order against the report itself, addresses, keys, saved files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Visit, counted, drawn, go, listed
from html_pages import texts_of

from mipo_bench.reports.html.report import report_to_html
from mipo_bench.reports.records.report import ArmRecord, Report

pytestmark = pytest.mark.slow
PAIR = "base={}&method=mipo-random"
Fits = Callable[["Task", int], bool]


class Task:
    """A task of the report with the means of a pair of arms, computed without the page."""

    def __init__(self, report: Report, name: str, base: str) -> None:
        task = report.task(name)
        assert task
        self.items, self.users = task.items, task.users
        self.base, self.method = report.group(name, base), report.group(name, "mipo-random")

    def delta(self, n: int) -> float:
        return self._mean(self.method, n) - self._mean(self.base, n)

    def ratio(self, n: int) -> float:
        before, after = (sum(arm.n_tokens[n] for arm in arms) / len(arms) for arms in (self.base, self.method))
        return after / before

    def any(self, test: Callable[[ArmRecord], bool]) -> bool:
        return any(test(arm) for arm in (*self.base, *self.method))

    def _mean(self, arms: list[ArmRecord], n: int) -> float:
        return sum(arm.scores[n] for arm in arms) / len(arms)

    def that(self, fits: Fits) -> list[str]:
        return [item for n, item in enumerate(self.items) if fits(self, n)]


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_to_html(report, texts_of(report))


FILTERS: dict[str, Fits] = {
    "show=improved": lambda t, n: t.delta(n) > 0,
    "show=regressed": lambda t, n: t.delta(n) < 0,
    "show=equal": lambda t, n: t.delta(n) == 0,
    "show=seeds": lambda t, n: len({arm.scores[n] for arm in t.method}) > 1,
    "show=cut": lambda t, n: t.any(lambda arm: t.items[n] in arm.truncated),
    "show=none": lambda t, n: t.any(lambda arm: t.items[n] in arm.unparsed),
    "show=failed": lambda t, n: t.any(lambda arm: t.items[n] in arm.failed),
    "least=0.34": lambda t, n: abs(t.delta(n)) >= 0.34,
    "show=regressed&least=0.1": lambda t, n: t.delta(n) <= -0.1,
    "length=double": lambda t, n: t.ratio(n) >= 2,
    "length=longer": lambda t, n: t.ratio(n) >= 1.2,
    "length=shorter": lambda t, n: t.ratio(n) <= 0.8,
    "length=half": lambda t, n: t.ratio(n) <= 0.5,
}
OF_PERSONA: dict[str, Fits] = {
    "user=user-03": lambda t, n: bool(t.users) and (t.users or [])[n] == "user-03",
    "part=tone": lambda t, n: any((arm.parts["tone"][n] or 0) < 1 for arm in t.method),
    "part=format&show=improved": lambda t, n: t.delta(n) > 0 and any((a.parts["format"][n] or 0) < 1 for a in t.method),
    "q=RESPONSE+persona-011+4": lambda t, n: t.items[n] == "persona-011",
    "q=words+on+persona-013": lambda t, n: t.items[n] == "persona-013",
}


def test_every_filter_finds_the_items_that_the_report_says(report: Report, page: str, visit: Visit) -> None:
    opened = visit(page)
    for name, base, filters in (
        ("arithmetic", "plain", FILTERS),
        ("persona", "profile", FILTERS | OF_PERSONA),
    ):
        task = Task(report, name, base)
        for query, fits in filters.items():
            go(opened, f"#/items?task={name}&{PAIR.format(base)}&{query}")
            wanted = task.that(fits)
            assert (counted(opened), listed(opened)) == (len(wanted), wanted[:50]), (name, query)
    assert len(Task(report, "persona", "profile").that(OF_PERSONA["part=tone"])) > 0


def test_pages_and_orders(report: Report, page: str, visit: Visit) -> None:
    task = Task(report, "arithmetic", "plain")
    opened = visit(page, f"/items?task=arithmetic&{PAIR.format('plain')}&page=3")
    assert listed(opened) == task.items[100:]
    go(opened, "#/items?task=arithmetic&page=99")
    assert listed(opened) == task.items[100:]
    places = range(len(task.items))
    orders = {"worst": task.delta, "best": lambda n: -task.delta(n)}
    for sort, key in orders.items():
        go(opened, f"#/items?task=arithmetic&{PAIR.format('plain')}&sort={sort}")
        assert listed(opened) == [task.items[n] for n in sorted(places, key=key)][:50]


def test_a_heading_sorts_and_says_so(report: Report, page: str, visit: Visit) -> None:
    opened = visit(page, f"/items?task=arithmetic&{PAIR.format('plain')}")
    heading = opened.get_by_role("columnheader", name="difference")
    assert heading.get_attribute("aria-sort") is None
    for way, sort in (("ascending", "worst"), ("descending", "best")):
        heading.get_by_role("link").press("Enter")
        opened.wait_for_url(f"**sort={sort}**")
        drawn(opened)
        opened.wait_for_function(f"() => document.querySelector('th[aria-sort={way}]')")
        assert heading.get_attribute("aria-sort") == way
        assert opened.evaluate("document.activeElement.textContent") == "difference"


def test_the_default_is_the_first_primary_comparison(report: Report, page: str, visit: Visit) -> None:
    primary = next(c for c in report.comparisons if c.family == "primary")
    opened = visit(page)
    assert opened.locator("#f-base").input_value() == primary.base
    assert opened.locator("#f-method").input_value() == primary.method


def test_what_is_listed_is_saved(report: Report, page: str, visit: Visit, tmp_path: Path) -> None:
    task = Task(report, "persona", "profile")
    wanted = task.that(lambda t, n: t.delta(n) < 0)
    opened = visit(page, f"/items?task=persona&{PAIR.format('profile')}&show=regressed", accept_downloads=True)
    found = {}
    for form in ("JSONL", "CSV"):
        with opened.expect_download() as download:
            opened.get_by_role("button", name=form, exact=True).click()
        found[form] = tmp_path / download.value.suggested_filename
        download.value.save_as(found[form])
    lines = [json.loads(line) for line in found["JSONL"].read_text().splitlines()]
    rows = list(csv.DictReader(found["CSV"].open()))
    for saved in (lines, rows):
        assert [row["item"] for row in saved] == wanted
        assert {row["method"] for row in saved} == {"mipo-random"}
        for row in saved:
            n = task.items.index(row["item"])
            assert float(row["difference"]) == pytest.approx(task.delta(n))
            assert row["user"] == (task.users or [])[n]


def test_a_saved_cell_is_no_formula(page: str, visit: Visit) -> None:
    opened = visit(page)
    made = opened.evaluate("() => csv([{ a: '=cmd()', b: 'x, \"y\"', c: -1.5, d: null, e: '@x' }])")
    assert list(csv.reader(made.splitlines())) == [["a", "b", "c", "d", "e"], ["'=cmd()", 'x, "y"', "-1.5", "", "'@x"]]


def test_addresses_lead_to_lists_and_items_and_back_works(report: Report, page: str, visit: Visit) -> None:
    third = report.tasks[1].items[3]
    address = f"/items?task=persona&{PAIR.format('profile')}&user=user-01"
    opened = visit(page, address)
    assert listed(opened)[0] == third
    opened.get_by_role("link", name=third, exact=True).click()
    opened.wait_for_selector("#item-title")
    item_address = opened.url.partition("#")[2]
    opened.go_back()
    opened.wait_for_selector("a.item")
    assert opened.url.endswith(address)
    opened.go_forward()
    opened.wait_for_selector("#item-title")
    afresh = visit(page, item_address)
    assert third in (afresh.locator("#item-title").text_content() or "")
    assert "1 of 3" in (afresh.locator("#browser p").first.text_content() or "")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/items?task=nowhere", "There is no task nowhere. There are: arithmetic, persona."),
        ("/item?task=arithmetic&id=nothing", "There is no item nothing in this task."),
        ("/item?task=__proto__&id=constructor", "There is no task __proto__."),
    ],
)
def test_an_unknown_name_says_so(address: str, message: str, page: str, visit: Visit) -> None:
    assert message in (visit(page, address).locator("#browser").text_content() or "")


def test_the_keyboard_alone_leads_to_the_second_regressed_item_and_back(
    report: Report, page: str, visit: Visit
) -> None:
    wanted = Task(report, "arithmetic", "plain").that(lambda t, n: t.delta(n) < 0)
    opened = visit(page, "/items?task=arithmetic")
    show = opened.locator("#f-show")
    for _ in range(40):
        opened.keyboard.press("Tab")
        if show.evaluate("node => node === document.activeElement"):
            break
    for choice in ("improved", "regressed"):
        opened.keyboard.press("ArrowDown")
        opened.wait_for_url(f"**show={choice}**")
        opened.wait_for_function("(c) => document.activeElement.value === c", arg=choice)
    opened.wait_for_function("(first) => document.querySelector('a.item').textContent === first", arg=wanted[0])
    assert show.evaluate("node => node === document.activeElement")
    assert show.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    opened.keyboard.press("Tab")
    for _ in range(40):
        if opened.evaluate("document.activeElement.className") == "item":
            break
        opened.keyboard.press("Tab")
    opened.keyboard.press("j")
    assert opened.evaluate("document.activeElement.textContent") == wanted[1]
    opened.keyboard.press("Enter")
    opened.wait_for_function("() => document.activeElement.id === 'item-title'")
    assert opened.evaluate("document.activeElement.textContent") == wanted[1]
    opened.keyboard.press("n")
    opened.wait_for_function("(third) => document.activeElement.textContent === third", arg=wanted[2])
    opened.keyboard.press("Escape")
    opened.wait_for_function("() => document.activeElement.id === 'samples-title'")
    opened.keyboard.press("/")
    assert opened.evaluate("document.activeElement.id") == "f-search"


def test_a_list_without_texts_has_no_column_of_prompts(report: Report, page: str, visit: Visit) -> None:
    assert "prompt" in visit(page).locator("#browser thead").all_inner_texts()[0]
    assert "prompt" not in visit(report_to_html(report)).locator("#browser thead").all_inner_texts()[0]


def test_the_next_item_of_a_search_is_the_next_that_was_found(report: Report, page: str, visit: Visit) -> None:
    opened = visit(page, "/items?task=persona&q=words+on+persona-02")
    wanted = [item for item in report.tasks[1].items if item.startswith("persona-02")]
    assert listed(opened) == wanted
    opened.locator("a.item").nth(3).click()
    for n in (4, 5):
        opened.wait_for_function(
            "(id) => document.getElementById('item-title')?.textContent.startsWith(id)", arg=wanted[n - 1]
        )
        assert f"{n} of {len(wanted)}" in (opened.locator("#browser p").first.text_content() or "")
        opened.locator("#next").click()
    go(opened, "#/items?task=persona&q=words+on+persona-01")
    assert listed(opened) == [item for item in report.tasks[1].items if item.startswith("persona-01")]
