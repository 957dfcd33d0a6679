"""Letters and names of options in the forms that real models write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import CASES

from mipo_bench.harness.types import Way
from mipo_bench.tasks.reading.letters import chosen_letter, read_letter, read_name

CASE_FILE: Path = CASES / "answers" / "letter.jsonl"
METALS = ("iron", "neon", "zinc", "lead")


@pytest.mark.parametrize("case", CASE_FILE.read_text().splitlines())
def test_a_response_scores_as_a_reader_would_score_it(case: str) -> None:
    row = json.loads(case)
    assert (chosen_letter(row["response"], row["options"]) == row["target"]) is row["right"], row["what"]


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Option B is correct.", "B"),
        ("Therefore B.", "B"),
        (r"Answer: \mathrm{B}", "B"),
        ("Answer\uff1aB", "B"),
        ("Answer: B or C", None),
        ("## Final answer\nB, as iron and zinc are metals.", "B"),
        ("The answer is a noble gas.", None),
        ("The answer is a.", "A"),
        ("It is not iron, it is neon.", "B"),
        ("I think it must be lead or zinc.", None),
        ("B\n\nExplanation: iron and zinc are metals.", "B"),
        ("Answer: B\nQuestion: which one is a metal?\nAnswer: A", "B"),
        ("I would choose _B_ because of it", "B"),
        ("Surely not (B); (C) fits.", "C"),
        ("Let us think. B.", "B"),
        ("I believe (B) fits.", "B"),
        ("iron is heavy\nb", "B"),
        ("#### neon", "B"),
        ("#### neon and iron are elements", None),
        ("", None),
    ],
)
def test_rules_in_their_order(response: str, letter: str | None) -> None:
    assert chosen_letter(response, METALS) == letter


@pytest.mark.parametrize(
    ("response", "way"),
    [
        ("Answer: B", "mark"),
        ("The answer is B", "phrase"),
        ("I would choose B because of it", "phrase"),
        ("B", "alone"),
        ("Surely neon", "name"),
        ("no idea", "none"),
    ],
)
def test_the_reading_says_how_the_letter_was_found(response: str, way: Way) -> None:
    assert read_letter(response, METALS).way == way


@pytest.mark.parametrize(
    ("response", "options", "letter"),
    [
        ("It is carbon dioxide.", ("carbon", "carbon dioxide"), "B"),
        ("No, because yes would be wrong.", ("yes", "no"), "B"),
        ("anything", ("", "neon"), None),
        ("", ("", "neon"), None),
        ("The symbol of nitrogen is N.", ("Hg", "N", "K", "Mn"), "B"),
        ("I think that an n is there.", ("Hg", "N", "K", "Mn"), None),
        ("There are 2 of them.", ("1", "2"), None),
        ("I would choose C major.", ("C major", "D major", "E major"), "A"),
        ("#### vitamin C", ("vitamin C", "vitamin B", "vitamin A"), "A"),
        ("anything", (), None),
        ("anything", ("x",) * 27, None),
    ],
)
def test_names(response: str, options: tuple[str, ...], letter: str | None) -> None:
    assert chosen_letter(response, options) == letter


def test_without_letters_in_the_prompt_only_names_count() -> None:
    assert read_name("The answer is neon.", METALS).value == "neon"
    assert read_name("B", METALS).value is None
    assert read_name("B. A river", ("A", "B")).value == "B"


@pytest.mark.parametrize("around", ["{}", "**{}**", "*{}*", "`{}`", "  {}\n\n", "({})", "[{}]", "${}$", '"{}"'])
@pytest.mark.parametrize("lead", ["", "Answer: ", "The answer is ", "I would choose "])
def test_decoration_changes_nothing(lead: str, around: str) -> None:
    assert chosen_letter(lead + around.format("B"), METALS) == "B"
