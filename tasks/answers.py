r"""Extract the final answer from a response: a number, or the letter of an option.

    "... 9 * 2 = 18 dollars. #### 18"        18
    "It costs $1,234.50 in all"              1234.5
    "The answer is (c), because ..."         C

The patterns are lenient, because a stricter one marks right answers as wrong: a pattern that stops at a comma reads
"1,000" as 1, and one without signs reads "-3" as 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from mipo_bench.harness.types import Item, Response, Score

LETTERS = "ABCDEFGHIJ"
NUMBER = re.compile(r"[-+\u2212]?\s?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_ANSWER_MARK = re.compile(r"(?:answer\s*(?:is|:|=)|####|\\boxed)", re.IGNORECASE)


def final_number(response: str) -> float | None:
    r"""The final number of a response; None if there is no number.

    It is the first number after the last answer mark, or after the last "=" on that line if there is one. If no number
    is there, the last number of the response counts. Marks are "Answer:", "the answer is", "####" and "\boxed". Signs,
    thousands separators, decimals and a currency sign are read. A minus between two numbers ("9-4") is an operator.
    """
    text = response.replace("{,}", ",")
    _, *after_marks = _ANSWER_MARK.split(text)
    for tail in (after_marks[-1].split("\n")[0].rpartition("=")[2], after_marks[-1]) if after_marks else ():
        if match := NUMBER.search(tail):
            return to_number(match.group())
    matches = list(NUMBER.finditer(text))
    if not matches:
        return None
    before = text[: matches[-1].start()].rstrip()
    value = to_number(matches[-1].group())
    return abs(value) if before[-1:].isdigit() else value


def to_number(text: str) -> float:
    """The value of a text that matches `NUMBER` or that `float` reads. Raises ValueError for any other text."""
    return float(re.sub(r"[,\s$+]", "", text).replace("\u2212", "-"))


def number_text(value: float) -> str:
    """A finite number in plain digits (no exponent); a whole number has no decimal point."""
    return str(int(value)) if value == int(value) else f"{Decimal(repr(float(value))):f}"


def multiple_choice_prompt(question: str, options: Sequence[str]) -> str:
    """A multiple-choice prompt: the question, one lettered option per line, and the required form of the answer."""
    lines = (f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join([question, *lines, 'End with "Answer: " and the letter of the right option.'])


def chosen_letter(response: str, choices: Sequence[str]) -> str | None:
    r"""The letter of the option that a response chooses; None if it names no option, or several.

    Three rules apply in this order: the letter after the last "answer" ("Answer: B", "the answer is option (b)",
    "\boxed{B}"); the only capital letter before a bracket, full stop, colon or the end of the text; the only option
    whose text occurs in the response ("Paris.").
    """
    letters = LETTERS[: len(choices)]
    any_case = letters + letters.lower()
    text = re.sub(r"\\boxed\{(?:\\text\{)?(.*?)\}+", r"answer: (\1)", response.replace("*", "")).strip()
    lead = r"(?i:answer\s*(?:is|:|=)?)\s*(?i:(?:option|choice|letter)\s+)?"
    after_answer = re.findall(rf"{lead}(?:\(([{any_case}])\)|([{letters}])\b|([{any_case}])\W*$)", text)
    if after_answer:
        return "".join(after_answer[-1]).upper()
    marked = set(re.findall(rf"(?:^|[\s(])([{letters}])(?:[).:]|$)", text))
    if marked:
        return next(iter(marked)) if len(marked) == 1 else None
    named = [
        letter
        for letter, option in zip(letters, choices, strict=True)
        if re.search(rf"(?<!\w){re.escape(option)}(?!\w)", response, re.IGNORECASE)
    ]
    return named[0] if len(named) == 1 else None


class NumberAnswers:
    """Scoring mixin for tasks whose target is a number in plain digits. A gold answer follows `answer_mark`."""

    answer_mark: ClassVar[str] = "####"

    def score(self, item: Item, response: Response) -> Score:
        """1 if the final number equals the target, else 0."""
        number = final_number(response.text)
        return Score(float(number == float(item.target)), parsed=number is not None)

    def gold(self, item: Item) -> str:
        """The answer mark and the target."""
        return f"{self.answer_mark} {item.target}"

    def wrong(self, item: Item) -> str:
        """The answer mark and the target plus one."""
        return f"{self.answer_mark} {number_text(float(item.target) + 1)}"


class LetterAnswers:
    """Scoring mixin for multiple-choice tasks whose target is the letter of an option. The prompt shows the letters."""

    def score(self, item: Item, response: Response) -> Score:
        """1 if the chosen letter equals the target, else 0. Options with log-likelihoods add `acc` and `acc_norm`.

        `acc` chooses the option with the highest summed log-probability. `acc_norm` first divides each sum by the
        option's length in bytes, as lm-eval does.
        """
        letter = chosen_letter(response.text, item.options)
        parts: dict[str, float] = {}
        if response.option_logprobs is not None:
            right = item.options[LETTERS.index(item.target)]
            scored = zip(response.option_logprobs, item.options, strict=True)
            per_byte = [logprob / max(1, len(option.encode())) for logprob, option in scored]
            parts["acc"] = float(_argmax(response.option_logprobs, item.options) == right)
            parts["acc_norm"] = float(_argmax(per_byte, item.options) == right)
        return Score(float(letter == item.target), parts, parsed=letter is not None)

    def gold(self, item: Item) -> str:
        """The letter of the right option."""
        return f"Answer: {item.target}"

    def wrong(self, item: Item) -> str:
        """The letter after the right one; after the last letter, the first."""
        return f"Answer: {LETTERS[(LETTERS.index(item.target) + 1) % len(item.options)]}"


def _argmax(values: Sequence[float], names: Sequence[str]) -> str:
    """The name with the largest value."""
    return max(zip(values, names, strict=True), key=lambda pair: pair[0])[1]
