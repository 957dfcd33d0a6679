"""Scoring mixins of tasks whose answer is a number or the letter of an option. `tasks/reading/` reads the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.reading.letters import chosen_letter, read_letter
from mipo_bench.tasks.reading.numbers import final_number, number_text, read_number

__all__ = [
    "LETTERS",
    "LetterAnswers",
    "NumberAnswers",
    "chosen_letter",
    "final_number",
    "multiple_choice_prompt",
    "number_text",
]

LETTERS = "ABCDEFGHIJ"


def multiple_choice_prompt(question: str, options: Sequence[str], wanted: str = "the right option") -> str:
    """A multiple-choice prompt: the question, one lettered option per line, and the required form of the answer."""
    lines = (f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join([question, *lines, f'End with "Answer: " and the letter of {wanted}.'])


class NumberAnswers:
    """Scoring mixin for tasks whose target is a number in plain digits. A gold answer follows `answer_mark`."""

    answer_mark: ClassVar[str] = "####"

    def score(self, item: Item, response: Response) -> Score:
        """1 if the final number equals the target, else 0."""
        reading = read_number(response.text)
        right = reading.value is not None and float(reading.value) == float(item.target)
        return Score(float(right), parsed=reading.value is not None, reading=reading)

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
        reading = read_letter(response.text, item.options)
        parts: dict[str, float] = {}
        if response.option_logprobs is not None:
            right = item.options[LETTERS.index(item.target)]
            scored = zip(response.option_logprobs, item.options, strict=True)
            per_byte = [logprob / max(1, len(option.encode())) for logprob, option in scored]
            parts["acc"] = float(_argmax(response.option_logprobs, item.options) == right)
            parts["acc_norm"] = float(_argmax(per_byte, item.options) == right)
        return Score(float(reading.value == item.target), parts, parsed=reading.value is not None, reading=reading)

    def gold(self, item: Item) -> str:
        """The letter of the right option."""
        return f"Answer: {item.target}"

    def wrong(self, item: Item) -> str:
        """The letter after the right one; after the last letter, the first."""
        return f"Answer: {LETTERS[(LETTERS.index(item.target) + 1) % len(item.options)]}"


def _argmax(values: Sequence[float], names: Sequence[str]) -> str:
    """The name with the largest value."""
    return max(zip(values, names, strict=True), key=lambda pair: pair[0])[1]
