r"""The text in which an answer is looked for, without what is no answer.

    "<think>17?</think>18"                    "18"
    "**Answer:** 18\nQuestion: A train ..."   "Answer: 18"

A model that goes on with a next question of its own answers that one too; such an invented turn is left out with all
that follows. The first line never begins one, for a response can repeat its question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mipo_bench.tasks.reading.plain import plain
from mipo_bench.tasks.reading.thoughts import without_thoughts

_SPEAKER = re.compile(r"\n[ \t#>*_]{0,9}(?:Question|Q|User|Human|Instruction)\s?\d{0,3}\s?:")
_CONTROL = re.compile(r"<(?:\|im_start\|>\s?user|\|user\|>|\|start_header_id\|>user|start_of_turn>user)|\[INST\]")
LONGEST = 8_000
"""Most characters of a response that are read, from its end."""


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The plain text in which an answer is looked for, and whether an invented turn was left out behind it."""

    text: str
    invented_turn: bool


def answer_text(response: str) -> AnswerText:
    """Leave out thoughts, the first invented turn and all that follows it, and decoration.

    Of a longer text, only the last 8,000 characters are read.
    """
    text = without_thoughts(response).text.lstrip()
    found = [match.start() for pattern in (_SPEAKER, _CONTROL) if (match := pattern.search(text)) and match.start()]
    kept = text[: min(found)] if found else text
    return AnswerText(plain(kept[-LONGEST:]), bool(found))
