r"""Cut a response at a turn that the model invented: a next question of its own, which it then answers.

    "Answer: 18\nQuestion: A train ..."      "Answer: 18"

The first line never begins an invented turn, for a response can repeat its question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPEAKER = r"(?:Question|Q|User|Human|Instruction)\s?\d{0,3}\s?:"
_CONTROL = r"<\|im_start\|>\s?user|<\|user\|>|<\|start_header_id\|>user|<start_of_turn>user|\[INST\]"
_TURN = re.compile(rf"(?<=\S)\s*\n[ \t#>*_]{{0,9}}{_SPEAKER}|(?<=\S)\s*(?:{_CONTROL})")


@dataclass(frozen=True, slots=True)
class FirstTurn:
    """The text before the first invented turn, and whether there was one."""

    text: str
    invented: bool


def first_turn(text: str) -> FirstTurn:
    """Cut the text at the first invented turn."""
    found = _TURN.search(text)
    return FirstTurn(text[: found.start()], True) if found else FirstTurn(text, False)
