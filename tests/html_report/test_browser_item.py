"""The screen of one item in Chromium: texts byte for byte, verdicts, the difference by words, copies, missing texts."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from browsing import Visit
from html_pages import texts_of
from made_reports import HOSTILE_MARKUP, PAYLOADS, Made

from mipo_bench.reports.html.blocks import pack, text_blocks
from mipo_bench.reports.html.report import Texts, report_to_html
from mipo_bench.reports.records.report import Report

pytestmark = pytest.mark.slow
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
CLIP = "() => navigator.clipboard.readText()"
ODD = "a\tb\r\nc\x00d \U0001f600 e\u0301 \u0627\u0644\u0639 \u202egnp.exe \u200b&lt; x" + "\u0301" * 40


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_to_html(report, texts_of(report))


def two_responses(first: str, second: str, **asked: Any) -> tuple[str, str]:
    """A page whose one item has two responses, and the address of the item."""
    made = Made(n_math=2, suites=("math",), train_seeds=(0,)).report()
    arms = [arm.method for arm in made.arms]
    texts = list(dict.fromkeys((first, second)))
    own = [{"text": texts.index(t), "finish": "stop"} for t in (first, second)]
    entry = {"prompt": "p", "target": "t", "texts": texts, "arms": [*own, *[None] * (len(arms) - 2)], **asked}
    page = report_to_html(made, Texts(list(text_blocks(0, [entry, entry]))))
    return page, f"/item?task=arithmetic&base={arms[0]}&method={arms[1]}&id={made.tasks[0].items[0]}"


def test_prompt_profile_target_and_the_responses_of_all_seeds(report: Report, page: str, visit: Visit) -> None:
    item = report.tasks[0].items[70]
    opened = visit(page, f"/item?task=arithmetic&base=plain&method=mipo-random&id={item}")
    shown = [text.strip() for text in opened.locator("#browser pre.text").all_text_contents()]
    arms = [n for n, arm in enumerate(report.arms) if arm.task == "arithmetic"]
    asked = {
        "Be brief.",
        f"likes {item}",
        "Before",
        "After",
        f"Question {item}",
        "A. yes\nB. no",
        "42",
        "Good is brief.",
    }
    assert asked | {f"response {item} {n}" for n in arms} <= set(shown)
    text = opened.locator("#browser").text_content() or ""
    assert "Read as 7 (mark: after a mark)." in text
    assert "71 of 120" in text
    columns = opened.locator("#browser section[aria-label='mipo-random'] h4").all_text_contents()
    assert [title for title in columns if "seed" in title] == [f"Training seed {n}" for n in (0, 1, 2)]
    assert opened.locator("#previous").get_attribute("href") != opened.locator("#next").get_attribute("href")


def test_parts_cuts_and_failures_are_said(report: Report, page: str, visit: Visit) -> None:
    task = report.tasks[1]
    found = {n: visit(page, f"/item?task=persona&method=mipo-random&id={task.items[n]}") for n in (1, 2, 4)}
    said = {n: opened.locator("section[aria-label='mipo-random']").text_content() or "" for n, opened in found.items()}
    assert "cut at the token limit" in said[1]
    assert "no answer found" in said[2]
    assert "failed: generate: lost" in said[4]
    tone = report.group("persona", "mipo-random")[0].parts["tone"][1]
    assert f"tone {tone:.3f}".replace(" 0.", " .") in said[1]


def test_verdicts_of_both_orders_with_the_words_of_the_judge(report: Report, page: str, visit: Visit) -> None:
    item = report.tasks[1].items[5]
    column = visit(page, f"/item?task=persona&method=mipo-random&id={item}").locator("section[aria-label=profile]")
    text = column.text_content() or ""
    assert "Verdict, this response shown first: this response is better" in text
    assert "Verdict, this response shown second: a tie" in text
    assert [t for t in column.locator("pre.text").all_text_contents() if t.startswith(f"Words on {item} ")]


def test_texts_are_shown_and_copied_byte_for_byte(visit: Visit) -> None:
    page, address = two_responses(ODD, "other", profile=ODD)
    opened = visit(page, address, **CLIPBOARD)
    shown = opened.locator("#browser .arms section").first.locator("pre.text").first
    pattern = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]")
    assert shown.text_content() == pattern.sub(lambda odd: f"U+{ord(odd[0]):04X}", ODD)
    assert shown.get_attribute("dir") == "auto"
    assert shown.evaluate("node => getComputedStyle(node).unicodeBidi") == "isolate"
    opened.get_by_role("button", name="Copy: Profile of the user").click()
    opened.wait_for_function("() => document.getElementById('status').textContent.endsWith('copied')")
    assert opened.evaluate(CLIP) == ODD
    opened.get_by_role("button", name="Copy item as JSON").click()
    opened.wait_for_function("() => document.getElementById('status').textContent.startsWith('item as JSON')")
    copied = json.loads(opened.evaluate(CLIP))
    assert copied["texts"]["texts"] == [ODD, "other"]
    opened.get_by_role("button", name="Copy link").click()
    opened.wait_for_function("() => document.getElementById('status').textContent.startsWith('link')")
    assert opened.evaluate(CLIP) == opened.url


WORDS = ("a", "the  ", "the", "x\n", "y ", "<b>", "\u00e9\t", "long word", "\r\n")
DIFFERENT = random.Random(7)
PAIRS = [["".join(DIFFERENT.choices(WORDS, k=DIFFERENT.randint(0, 60))) for _ in "ab"] for _ in range(200)]
LONG = ["word " * 20_000, "other " * 20_000], [" ".join(map(str, range(n, n + 1400))) for n in (0, 10_000)]


def test_the_difference_of_200_pairs_gives_back_both_texts(page: str, visit: Visit) -> None:
    pairs = [*PAIRS, ["same text", "same text"], *LONG]
    found = visit(page).evaluate("(pairs) => pairs.map(([a, b]) => compare(a, b))", pairs)
    for (first, second), parts in zip(pairs, found, strict=True):
        assert "".join(text for sign, text in parts if sign != "+") == first
        assert "".join(text for sign, text in parts if sign != "-") == second
        assert any(sign != " " for sign, _ in parts) == (first != second)


def test_the_difference_of_long_texts_is_bounded(page: str, visit: Visit) -> None:
    clock = "([a, b]) => { const start = performance.now(); compare(a, b); return performance.now() - start; }"
    opened = visit(page)
    assert all(opened.evaluate(clock, pair) < 1000 for pair in LONG)


def test_the_difference_marks_words_with_more_than_colour(visit: Visit) -> None:
    page, address = two_responses("one two three", "one 2 three")
    opened = visit(page, address)
    opened.locator("#difference summary").click()
    assert opened.locator("#difference del").text_content() == "two "
    assert opened.locator("#difference ins").text_content() == "2 "
    lines = {
        tag: opened.locator(f"#difference {tag}").evaluate("n => getComputedStyle(n).textDecorationLine")
        for tag in ("del", "ins")
    }
    assert lines == {"del": "line-through", "ins": "underline"}


def test_hostile_texts_are_shown_as_text(report: Report, visit: Visit) -> None:
    page = report_to_html(report, texts_of(report, HOSTILE_MARKUP))
    opened = visit(page, f"/item?task=persona&method=mipo-random&id={report.tasks[1].items[0]}")
    shown = "\n".join(opened.locator("#browser pre.text").all_text_contents())
    for payload in PAYLOADS:
        if payload.isprintable():
            assert payload in shown, payload
    assert "U+202E" in shown
    tags = opened.locator("#browser *").evaluate_all("nodes => [...new Set(nodes.map((n) => n.tagName.toLowerCase()))]")
    assert set(tags).isdisjoint({"script", "img", "iframe", "svg", "base", "link", "style", "meta", "template", "x"})


def test_a_megabyte_without_a_space_does_not_widen_the_page(visit: Visit) -> None:
    page, address = two_responses("x" * 2**20, "y")
    opened = visit(page, address)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_without_texts_says_so(report: Report, visit: Visit) -> None:
    opened = visit(report_to_html(report), f"/item?task=arithmetic&id={report.tasks[0].items[0]}")
    text = opened.locator("#browser").text_content() or ""
    assert "The texts of this item are not in this file." in text
    assert "score" in text


def test_a_prompt_that_is_missing_is_said(visit: Visit) -> None:
    page, address = two_responses("a", "b", prompt=None)
    text = visit(page, address).locator("#browser").text_content() or ""
    assert "The prompt is left out: see the notes at the top." in text


@pytest.mark.parametrize("way", ["another block", "a flipped byte"])
def test_a_damaged_block_is_said_and_breaks_nothing_else(way: str, report: Report, page: str, visit: Visit) -> None:
    data = re.search(r'id="texts-0-0" data-size="\d+">([A-Za-z0-9+/=]*)<', page)
    assert data
    half = len(data[1]) // 2
    flipped = data[1][:half] + ("A" if data[1][half] != "A" else "B") + data[1][half + 1 :]
    damaged = page.replace(data[1], pack("x", 0).data if way == "another block" else flipped)
    first, later = report.tasks[0].items[0], report.tasks[0].items[100]
    broken = visit(damaged, f"/item?task=arithmetic&id={first}").locator("#browser").text_content() or ""
    whole = visit(damaged, f"/item?task=arithmetic&id={later}").locator("#browser").text_content() or ""
    assert "The texts of this item cannot be read" in broken
    assert f"Question {later}" in whole
