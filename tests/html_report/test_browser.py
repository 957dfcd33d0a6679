"""The HTML report in Chromium: sample browser, items, filters, hostile texts, missing and damaged blocks."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from made_reports import HOSTILE_MARKUP, Made, spoiled_report
from paths import ROOT

from mipo_bench.reports.html.blocks import Block, pack, text_blocks
from mipo_bench.reports.html.report import Texts, report_to_html
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import load_report

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--virtual-time-budget=5000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)
Open = Callable[[str, str], str]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens a page at an address behind "#" and returns its sample browser; the console must stay empty."""
    folder = tmp_path_factory.mktemp("browser")

    def opened(page: str, address: str) -> str:
        assert CHROMIUM
        file = folder / "report.html"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}/profile", "--dump-dom", f"{file.as_uri()}#{address}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout.partition('<div id="browser">')[2].partition('<section id="provenance"')[0]

    return opened


def texts_of(report: Report, text: str = "") -> Texts:
    """Made texts of every item: prompt, profile and one response for each arm."""
    blocks: list[Block] = []
    for n, task in enumerate(report.tasks):
        arms = [arm for arm in report.arms if arm.task == task.name]
        entries: list[dict[str, Any] | None] = [
            {
                "prompt": f"Question {item} {text}",
                "target": "42",
                "profile": f"likes {item}",
                "options": ["yes", "no"],
                "texts": [f"response {item} {arm} {text}" for arm in range(len(arms))],
                "arms": [
                    {"text": arm, "finish": "stop", "answer": "7", "way": "mark", "rule": "after a mark"}
                    for arm in range(len(arms))
                ],
            }
            for item in task.items
        ]
        blocks += text_blocks(n, entries)
    return Texts(blocks, "This file holds texts.")


@pytest.fixture(scope="module")
def report() -> Report:
    return Made(n_math=120, n_users=6).report()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_to_html(report, texts_of(report))


def listed(shown: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<a class="item"[^>]*>([^<]*)</a>', shown)]


def means(report: Report, task: int, method: str) -> list[float]:
    arms = report.group(report.tasks[task].name, method)
    return [sum(scores) / len(scores) for scores in zip(*(arm.scores for arm in arms), strict=True)]


@pytest.mark.parametrize("show", ["improved", "regressed", "equal"])
def test_a_pair_of_arms_is_filtered_like_the_report_says(show: str, report: Report, page: str, browse: Open) -> None:
    shown = browse(page, f"/items?task=arithmetic&base=plain&method=mipo-random&show={show}")
    pairs = list(zip(means(report, 0, "plain"), means(report, 0, "mipo-random"), strict=True))
    wanted = {
        "improved": [b > a for a, b in pairs],
        "regressed": [b < a for a, b in pairs],
        "equal": [b == a for a, b in pairs],
    }[show]
    items = [item for item, fits in zip(report.tasks[0].items, wanted, strict=True) if fits]
    assert items
    assert listed(shown) == items[:50]
    assert f"{len(items)} of 120 items, mean difference" in shown
    assert "Chosen after looking: this is no test." in shown


def test_pages_of_fifty_items(report: Report, page: str, browse: Open) -> None:
    assert listed(browse(page, "/items?task=arithmetic&page=3")) == report.tasks[0].items[100:]
    assert listed(browse(page, "/items?task=arithmetic&page=99")) == report.tasks[0].items[100:]


def test_search_reads_prompts_and_responses_of_all_blocks(report: Report, page: str, browse: Open) -> None:
    item = report.tasks[0].items[110]
    assert listed(browse(page, f"/items?task=arithmetic&q=RESPONSE+{item}+1")) == [item]


def test_the_items_of_one_user(report: Report, page: str, browse: Open) -> None:
    task = report.tasks[1]
    assert task.users
    wanted = [item for item, user in zip(task.items, task.users, strict=True) if user == task.users[0]]
    assert listed(browse(page, f"/items?task={task.name}&user={task.users[0]}")) == wanted


def test_the_largest_loss_comes_first(report: Report, page: str, browse: Open) -> None:
    shown = browse(page, "/items?task=arithmetic&base=plain&method=mipo-random&sort=worst")
    change = [b - a for a, b in zip(means(report, 0, "plain"), means(report, 0, "mipo-random"), strict=True)]
    order = sorted(range(len(change)), key=lambda n: (change[n], n))
    assert listed(shown) == [report.tasks[0].items[n] for n in order[:50]]


def test_an_item_with_prompt_profile_and_the_responses_of_both_arms(report: Report, page: str, browse: Open) -> None:
    item = report.tasks[0].items[70]
    shown = unescape(browse(page, f"/item?task=arithmetic&base=plain&method=mipo-random&id={item}"))
    assert f"Question {item}" in shown
    assert f"likes {item}" in shown
    assert "Read as 7 (mark: after a mark)." in shown
    arms = [n for n, arm in enumerate(report.arms) if arm.task == "arithmetic"]
    assert all(f"response {item} {n}" in shown for n in range(len(arms)))
    assert f"id={report.tasks[0].items[71]}" in shown
    assert f"id={report.tasks[0].items[69]}" in shown
    assert "71 of 120" in shown


WORDS = ("a", "the  ", "the", "x\n", "y ", "<b>", "\u00e9\t", "long word")
DIFFERENT = random.Random(7)
PAIRS = [tuple(" ".join(DIFFERENT.choices(WORDS, k=DIFFERENT.randint(1, 40))) for _ in "ab") for _ in range(6)]


@pytest.mark.parametrize("pair", [*PAIRS, ("same text", "same text"), ("word " * 2000, "other " * 2000)])
def test_the_difference_of_two_responses_gives_back_both(pair: tuple[str, str], browse: Open) -> None:
    made = Made(n_math=2, suites=("math",), train_seeds=(0,)).report()
    arms = [arm.method for arm in made.arms]
    own: list[dict[str, Any] | None] = [{"text": n, "finish": "stop"} if n < 2 else None for n in range(len(arms))]
    entry: dict[str, Any] = {"prompt": "p", "target": "t", "texts": list(pair), "arms": own}
    page = report_to_html(made, Texts(list(text_blocks(0, [entry, entry]))))
    shown = browse(page, f"/item?task=arithmetic&base={arms[0]}&method={arms[1]}&id={made.tasks[0].items[0]}")
    found = re.search(r'id="difference">.*?<pre[^>]*>(.*?)</pre>', shown, re.DOTALL)
    assert found
    first, second = (re.sub(rf"<{tag}>.*?</{tag}>", "", found[1], flags=re.DOTALL) for tag in ("ins", "del"))
    assert [unescape(re.sub("</?(ins|del)>", "", text)) for text in (first, second)] == list(pair)
    assert ("<del>" in found[1]) == (pair[0] != pair[1])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/items?task=nowhere", "There is no task nowhere. There are: arithmetic, persona."),
        ("/item?task=arithmetic&id=nothing", "There is no item nothing in this task."),
    ],
)
def test_an_unknown_name_says_so(address: str, message: str, page: str, browse: Open) -> None:
    assert message in unescape(browse(page, address))


def test_hostile_names_and_texts_are_shown_as_text(report: Report, browse: Open) -> None:
    spoiled = spoiled_report(report)
    shown = browse(report_to_html(spoiled, texts_of(spoiled, HOSTILE_MARKUP)), "/items")
    assert len(listed(shown)) == 50
    tags = set(re.findall(r"<([a-z]+)", shown))
    assert tags <= {
        *("form", "label", "select", "option", "input", "button", "p", "div", "table", "thead", "tbody")
    } | {*("tr", "th", "td", "a", "span", "section")}
    assert "{{7*7}}" in shown


def test_hostile_texts_of_an_item_are_shown_as_text(report: Report, browse: Open) -> None:
    shown = browse(
        report_to_html(report, texts_of(report, HOSTILE_MARKUP)), f"/item?task=arithmetic&id={report.tasks[0].items[0]}"
    )
    assert "<script" not in shown
    assert "<img" not in shown
    assert "U+202E" in shown
    assert "&lt;img src=x onerror=a()&gt;" in shown


def test_a_file_without_texts_says_so_at_the_item(report: Report, browse: Open) -> None:
    shown = browse(report_to_html(report), f"/item?task=arithmetic&id={report.tasks[0].items[0]}")
    assert "The texts of this item are not in this file." in shown
    assert "score" in shown


def test_a_damaged_block_is_said_and_breaks_nothing_else(report: Report, page: str, browse: Open) -> None:
    whole = pack("x", 0).data
    data = re.search(r'id="texts-0-0" data-size="\d+">([A-Za-z0-9+/=]*)<', page)
    assert data
    damaged = page.replace(data[1], whole)
    first, later = report.tasks[0].items[0], report.tasks[0].items[100]
    assert "The texts of this item cannot be read" in browse(damaged, f"/item?task=arithmetic&id={first}")
    assert f"Question {later}" in browse(damaged, f"/item?task=arithmetic&id={later}")


def test_the_committed_report_opens_with_its_items(browse: Open) -> None:
    shown = browse(report_to_html(load_report(ROOT / "mipo-bench-report")), "/items?task=persona")
    assert "300 of 300 items" in shown


def test_without_the_program_everything_but_the_browser_is_there(report: Report, page: str, browse: Open) -> None:
    program = page.rpartition("<script>")[2].partition("</script>")[0]
    assert "needs scripts" in browse(page.replace(program, ""), "")
    assert all(f"{task.name} (" in page for task in report.tasks)
