"""Thoughts of reasoning models are left out before anything is read."""

from __future__ import annotations

import pytest

from mipo_bench.tasks.reading.thoughts import Answer, opens_thoughts, without_thoughts


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("It is 18.", Answer("It is 18.")),
        ("", Answer("")),
        ("<think>Maybe 15.</think>\n\nIt is 18.", Answer("It is 18.", "closed")),
        ("Maybe 15.</think>It is 18.", Answer("It is 18.", "closed")),
        ("[THINK]Maybe 15.[/THINK]18", Answer("18", "closed")),
        ("<think>one</think>no, <think>two</think>18", Answer("18", "closed")),
        ("<think>\nThe answer is B or maybe", Answer("", "cut")),
        ("<THINK>Maybe 15, or", Answer("", "cut")),
        ("<think>one</think>18<think>wait", Answer("", "cut")),
        ("<think>only thoughts</think>", Answer("", "closed")),
    ],
)
def test_the_answer_begins_after_the_last_end_tag(response: str, answer: Answer) -> None:
    assert without_thoughts(response) == answer


def test_a_prompt_that_opens_thoughts_makes_an_unclosed_response_one_without_an_answer() -> None:
    prompt = "<|user|>How many?<|assistant|><think>\n"
    assert opens_thoughts(prompt)
    assert without_thoughts("Maybe 15, or", prompt) == Answer("", "cut")
    assert without_thoughts("Maybe 15.</think>18", prompt) == Answer("18", "closed")
    assert not opens_thoughts("<think>\n\n</think>\n\n")


def test_the_tags_can_be_named() -> None:
    tags = (("<<plan>>", "<</plan>>"),)
    assert without_thoughts("<<plan>>15<</plan>>18", tags=tags) == Answer("18", "closed")
    assert without_thoughts("<think>15</think>18", "<think>", tags=()) == Answer("<think>15</think>18")
    assert without_thoughts("<<plan>>15<</plan>>18") == Answer("<<plan>>15<</plan>>18")
