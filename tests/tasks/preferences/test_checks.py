"""Each check on hand-written responses that meet the preference and that do not, and on any text."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from mipo_bench.tasks.preferences.checks.no_answer import is_answer
from mipo_bench.tasks.preferences.checks.response_text import ResponseText
from mipo_bench.tasks.preferences.kinds import KINDS, Preference

CASES: Mapping[str, Mapping[str, list[str]]] = yaml.safe_load((ROOT / "tests/cases/preferences.yaml").read_text())
EVERY = [Preference(kind.name, value) for kind in KINDS.values() for value in kind.values[:4]]
ODD = [
    *("", " ", "#", "- ", "1.", "```", "```python\n", "|", "| - |", "**", "\x00", "\ud7ff", "🙂", "0-0-0"),
    *("2024-02-30", "def f(", "!!!", "???", "( " * 50),
]
LONG = [
    "word ",
    "- a\n",
    "1. a\n",
    "*a_",
    "[",
    "> ",
    "| a ",
    "Is it? ",
    "it's 5 kg on 2024-05-31! ",
    "# a\n",
    "a",
    "🙂",
    "`",
]
LONG += [
    "def f(a):\n    x\n",
    "```\n(\n",
    "colour ",
    "\n",
    "In short, ",
    "a.b.c ",
    "5 5 5 ",
    "1-",
    "é́",
    "```python\ndef f(x): pass\n",
]


def _preference(name: str) -> Preference:
    kind, _, value = name.partition("=")
    return Preference(kind, value)


@pytest.mark.parametrize(
    ("name", "side", "text"),
    [(name, side, text) for name, sides in CASES.items() for side, texts in sides.items() for text in texts],
)
def test_a_check_tells_good_from_bad(name: str, side: str, text: str) -> None:
    assert _preference(name).met_by(ResponseText(text)) == (side == "good")


def test_every_kind_has_two_good_and_two_bad_responses() -> None:
    assert {_preference(name).kind for name in CASES} == set(KINDS)
    assert all(len(sides["good"]) >= 2 and len(sides["bad"]) >= 2 for sides in CASES.values())


@given(st.text(max_size=300) | st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=12).map("".join))
def test_no_check_raises_on_any_text(text: str) -> None:
    read = ResponseText(text)
    assert all(preference.met_by(read) in (True, False) for preference in EVERY)
    assert is_answer(read, "a profile and a request") in (True, False)


@pytest.mark.parametrize("piece", LONG)
def test_the_time_to_read_a_long_response_is_not_quadratic(piece: str) -> None:
    """It is some 20 ms of the processor; a search that is quadratic in these 100 kB takes minutes."""
    text = piece * (100_000 // len(piece))
    for preference in EVERY:  # load the libraries
        preference.met_by(ResponseText(piece))
    assert min(_seconds_to_check(text) for _ in range(3)) < 0.5


def _seconds_to_check(text: str) -> float:
    began = time.process_time()
    read = ResponseText(text)
    for preference in EVERY:
        preference.met_by(read)
    is_answer(read, text)
    return time.process_time() - began


NOTE = "I study geology. Please stay under 40 words. Call me Greta when you answer. No emoji, please, and no lists."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n ",
        "Yes.",
        "I'm sorry, but I can't help with that request at this time.",
        "As an AI language model, I am not able to give advice on this matter.",
        "Unfortunately, I cannot answer questions about how to cook rice for you.",
        "I'm afraid I'm unable to provide advice on how to cook rice.",
        NOTE,
        f"Thank you. {NOTE}",
        "Rinse the rice and boil it. " * 8,
        "south-facing window with a " * 20,
        f"Use a process called {'Mixed-' * 40}M",
    ],
)
def test_no_answer(text: str) -> None:
    assert not is_answer(ResponseText(text), f"{NOTE}\nHow do I cook rice so that it does not stick?")


@pytest.mark.parametrize(
    "text",
    [
        "Rinse the rice and boil it for ten minutes, Greta.",
        "To cook rice so that it does not stick, rinse it first and boil it with a little oil for ten minutes.",
        "I'm sorry to hear that it sticks, Greta. "
        + "Rinse it well, and use more water. Stir it once. " * 2
        + "Wait " * 3,
        "I cannot taste it from here, but rinse the rice, boil it for ten minutes and then let it rest under a lid.",
    ],
)
def test_an_answer(text: str) -> None:
    assert is_answer(ResponseText(text), f"{NOTE}\nHow do I cook rice so that it does not stick?")
