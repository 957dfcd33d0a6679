"""Numbers in the forms that real models write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import CASES

from mipo_bench.harness.types import Way
from mipo_bench.tasks.reading.numbers import final_number, read_number

CASE_FILE: Path = CASES / "answers" / "number.jsonl"


@pytest.mark.parametrize("case", CASE_FILE.read_text().splitlines())
def test_a_response_scores_as_a_reader_would_score_it(case: str) -> None:
    row = json.loads(case)
    assert (final_number(row["response"]) == float(row["target"])) is row["right"], row["what"]


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("The answer (in dollars) is 66. I hope this helps! Call 911.", 66),
        ("So the answer is \\boxed{66}. The answer is of interest to 5 people.", 66),
        ("The answer is 25%, or 1/4 of it.", 25),
        ("The answer is 0.6 or 3/5.", 0.6),
        ("The answer is 4 or 5.", None),
        ("Answer: 4 onions and 1 potato", None),
        ("The answer is 5 points or 6 points.", None),
        ("The answer is 18 dollars for 3 days.", 18),
        ("**Final answer**\n18 pens\nfor 3 friends", 18),
        ("The answer is 5 + 5 = 10.", 10),
        ("Answer: 3 * 6 pens = 18 pens", 18),
        ("#### - 18", 18),
        ("It is -18", -18),
        ("#### -$18", -18),
        ("9-4", 4),
        (r"\boxed{\frac{1}{2}}", 0.5),
        (r"\boxed{3\frac{1}{2}}", 3.5),
        ("Answer: 1 1/2 cups", 1.5),
        ("Answer: 1½ cups", 1.5),
        ("Answer: 3/0", None),
        ("The area is 12 m^2", 12),
        ("The area is 12 m²", 12),
        (r"\boxed{2^{10}}", 1024),
        (r"\boxed{2\sqrt{3}}", None),
        ("Answer: 3 x 10^5", 300000),
        ("She has eighteen pens", 18),
        ("The answer is two million.", 2000000),
        ("Answer: two and a half", 2.5),
        ("The answer is not 5.\nAnswer: 6", 6),
        ("Answer: 18\nQuestion: A train has 5 cars. How many?\nAnswer: 5", 18),
        ("Question: how many?\nAnswer: 18", 18),
        ("The answer is 18.\n\nUser: and now?\nThe answer is 19.", 18),
        ("Answer: 17\n<think>wait", None),
        ("The answer is <<2+3=5>>5 + 4 = 9", 9),
        ("Answer: 10\u00b2", 100),
        ("Answer: eighteen \ud83d", 18),
        ("[INST] how many? [/INST] Answer: 18", 18),
        ("Answer: 18<|im_start|>user\nAnswer: 5", 18),
        ("Answer: 5\n" + "word " * 5000, None),
        ("Answer: not 5. So the answer is 6.", 6),
        ("I asked GPT-4", 4),
        ("Answer: 1e999", None),
        ("A: 6\nAnswer: 5", 5),
        ("", None),
        ("no idea", None),
    ],
)
def test_rules_in_their_order(response: str, number: float | None) -> None:
    assert final_number(response) == number


@pytest.mark.parametrize(
    ("response", "way", "rule"),
    [
        ("18", "alone", "a value alone"),
        ("So 18.\n#### 18", "mark", "####"),
        ("Answer: 18", "mark", "Answer:"),
        ("The answer is 18", "phrase", "the answer is"),
        ("She has 18 pens in all, I think, my friend.", "last number", "the last number"),
        ("I cannot say.", "none", "no answer"),
        ("The answer is 3 5", "none", "the answer is"),
    ],
)
def test_the_reading_says_how_the_number_was_found(response: str, way: Way, rule: str) -> None:
    reading = read_number(response)
    assert (reading.way, reading.rule) == (way, rule)


def test_an_invented_turn_is_told() -> None:
    assert read_number("Answer: 18\nQ: next?\nA: 3").invented_turn
    assert not read_number("Answer: 18").invented_turn


@pytest.mark.parametrize(
    "around", ["{}", "**{}**", "*{}*", "__{}__", "`{}`", "  {}\n\n", "\n\t{}", "<b>{}</b>", "${}$"]
)
@pytest.mark.parametrize("lead", ["", "Answer: ", "The answer is ", "#### ", "So we get "])
def test_white_space_and_emphasis_change_nothing(lead: str, around: str) -> None:
    for value in ("18", "-3", "1,234.5"):
        expected = final_number(lead + value)
        assert expected is not None
        assert final_number(lead + around.format(value)) == expected
