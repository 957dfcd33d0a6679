r"""Reading a final answer from a response: a number, or the letter of an option.

    "... 9 * 2 = 18 dollars. #### 18"        18
    "It costs $1,234.50 in all"              1234.5
    "The answer is (c), because ..."         C

Stricter patterns lose right answers: one that stops at a comma reads "1,000" as 1, and one without signs reads -3 as 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from mipo_bench.harness.types import Item, Response, Score

LETTERS = "ABCDEFGHIJ"
NUMBER = re.compile(r"[-+\u2212]?\s?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_MARK = re.compile(r"(?:answer\s*(?:is|:|=)|####|\\boxed)", re.IGNORECASE)


def final_number(response: str) -> float | None:
    r"""The number a response ends on: the first after its last mark (or that mark's "="), else the last number at all.

    Marks are "Answer:", "the answer is", "####" and "\boxed". Reads signs, thousands separators, decimals and a
    currency sign; a minus that joins two numbers ("9-4") is an operator, not a sign. None without a number.
    """
    text = response.replace("{,}", ",")
    _, *answers = _MARK.split(text)
    for tail in (answers[-1].split("\n")[0].rpartition("=")[2], answers[-1]) if answers else ():
        if match := NUMBER.search(tail):
            return to_number(match.group())
    matches = list(NUMBER.finditer(text))
    if not matches:
        return None
    before = text[: matches[-1].start()].rstrip()
    value = to_number(matches[-1].group())
    return abs(value) if before[-1:].isdigit() else value


def to_number(text: str) -> float:
    """The value of a number as `NUMBER` finds it, or as `float` reads it. Raises ValueError for anything else."""
    return float(re.sub(r"[,\s$+]", "", text).replace("\u2212", "-"))


def number_text(value: float) -> str:
    """A finite number in plain digits, whole ones without a point."""
    return str(int(value)) if value == int(value) else f"{Decimal(repr(float(value))):f}"


def multiple_choice_prompt(question: str, options: Sequence[str]) -> str:
    """A multiple-choice prompt: the question, an option a line with its letter, and the form of the answer."""
    lines = (f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join([question, *lines, 'End with "Answer: " and the letter of the right option.'])


def chosen_letter(response: str, choices: Sequence[str]) -> str | None:
    r"""The letter that a response settles on; None where it names none, or several.

    In this order: the letter after the last "answer" ("Answer: B", "the answer is option (b)", "\boxed{B}"); a capital
    with a bracket or a full stop, or alone; the single option that the text contains ("Paris.").
    """
    letters = LETTERS[: len(choices)]
    both = letters + letters.lower()
    text = re.sub(r"\\boxed\{(?:\\text\{)?(.*?)\}+", r"answer: (\1)", response.replace("*", "")).strip()
    lead = r"(?i:answer\s*(?:is|:|=)?)\s*(?i:(?:option|choice|letter)\s+)?"
    after = re.findall(rf"{lead}(?:\(([{both}])\)|([{letters}])\b|([{both}])\W*$)", text)
    if after:
        return "".join(after[-1]).upper()
    marked = set(re.findall(rf"(?:^|[\s(])([{letters}])(?:[).:]|$)", text))
    if marked:
        return next(iter(marked)) if len(marked) == 1 else None
    named = [
        letter
        for letter, o in zip(letters, choices, strict=True)
        if re.search(rf"(?<!\w){re.escape(o)}(?!\w)", response, re.IGNORECASE)
    ]
    return named[0] if len(named) == 1 else None


class NumberAnswers:
    """Scoring of a task whose targets are numbers in plain digits, asked for after `answer_mark`."""

    answer_mark: ClassVar[str] = "####"

    def score(self, item: Item, response: Response) -> Score:
        """Exact match on the final number."""
        number = final_number(response.text)
        return Score(float(number == float(item.target)), parsed=number is not None)

    def gold(self, item: Item) -> str:
        """The bare answer."""
        return f"{self.answer_mark} {item.target}"

    def wrong(self, item: Item) -> str:
        """A number that is off by one."""
        return f"{self.answer_mark} {number_text(float(item.target) + 1)}"


class LetterAnswers:
    """Scoring of a task whose targets are the letters of the options, which the prompt shows."""

    def score(self, item: Item, response: Response) -> Score:
        """Exact match on the letter; beside it, where there are log-likelihoods of the options, `acc` and `acc_norm`.

        `acc` takes the option of the highest summed log-probability; `acc_norm` divides by its length in bytes first,
        as lm-eval does.
        """
        letter = chosen_letter(response.text, item.options)
        parts: dict[str, float] = {}
        if response.option_logprobs is not None:
            right = item.options[LETTERS.index(item.target)]
            normed = [p / max(1, len(o.encode())) for p, o in zip(response.option_logprobs, item.options, strict=True)]
            parts["acc"] = float(_argmax(response.option_logprobs, item.options) == right)
            parts["acc_norm"] = float(_argmax(normed, item.options) == right)
        return Score(float(letter == item.target), parts, parsed=letter is not None)

    def gold(self, item: Item) -> str:
        """The right letter."""
        return f"Answer: {item.target}"

    def wrong(self, item: Item) -> str:
        """The letter after the right one, the first after the last."""
        return f"Answer: {LETTERS[(LETTERS.index(item.target) + 1) % len(item.options)]}"


def _argmax(values: Sequence[float], names: Sequence[str]) -> str:
    return max(zip(values, names, strict=True), key=lambda pair: pair[0])[1]
