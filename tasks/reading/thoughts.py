r"""Leave out the thoughts of a reasoning model: the answer begins after the last end tag.

    "<think>Maybe 15.</think>It is 18."      "It is 18."
    "Maybe 15.</think>It is 18."             "It is 18."      (the prompt opened the thoughts)
    "<think>Maybe 15, or"                    ""               (the thoughts were cut: there is no answer)

A begin tag without an end tag means that the token limit cut the thoughts. A chat template can hold the begin tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ThoughtTag = tuple[str, str]
THOUGHT_TAGS: tuple[ThoughtTag, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
"""The tags around thoughts in the responses of public reasoning models, as (begin, end)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a response after its thoughts.

    `thoughts`: `none` were there, they were `closed` and left out, or they were `cut`, and `text` is empty.
    """

    text: str
    thoughts: Literal["none", "closed", "cut"] = "none"


def without_thoughts(response: str, prompt: str = "", tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> Answer:
    """The answer of a response. `prompt` is the rendered prompt: a chat template can open the thoughts at its end.

    A response without text has no thoughts, and without `tags` no response has any.
    """
    if not tags or not response.strip():
        return Answer(response)
    begins, ends = _pattern(tuple(tag[0] for tag in tags)), _pattern(tuple(tag[1] for tag in tags))
    closed = list(ends.finditer(response))
    answer = response[closed[-1].end() :] if closed else response
    opened = begins.search(answer)
    if opened or (not closed and opens_thoughts(prompt, tags)):
        return Answer("", "cut")
    return Answer(answer.lstrip(), "closed") if closed else Answer(response)


def opens_thoughts(prompt: str, tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> bool:
    """Whether a rendered prompt ends inside thoughts that it began."""
    return prompt.rstrip().endswith(tuple(begin for begin, _ in tags))


@lru_cache
def _pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)), re.IGNORECASE)
