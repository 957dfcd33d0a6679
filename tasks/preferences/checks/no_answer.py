"""Responses that are no answer. They score 0, so that nothing meets "no lists" by saying nothing."""

from __future__ import annotations

import re

from mipo_bench.tasks.preferences.checks.response_text import ResponseText

FEWEST_WORDS = 8
"""A response with fewer words, code included, is no answer: every request asks for more."""
_REFUSAL_WORDS = 60
_WORD = re.compile(r"[^\W_]+")
_RUN = 4
_COPIED, _DISTINCT = 0.5, 0.3
_CANNOT = (
    r"(?:i'm (?:unable|not able) to|i (?:cannot|can not|can't|won't|will not|don't|do not|am unable to|am not able to))"
)
_DO = (
    r"(?:answer|assist|comply|continue|discuss|do that|fulfil|generate|give|have|help|offer|produce|provide|respond|"
    r"share|write)"
)
_AS_AI = r"as an (?:ai|language)[^.]{0,40}"
_REFUSAL = re.compile(
    rf"\W*(?:(?:i'?m |i am )?(?:very |so )?sorry|unfortunately|i'?m afraid|{_AS_AI}|)"
    rf",?(?: but)?(?: {_AS_AI},)? ?{_CANNOT} (?:\w+ )?{_DO}\b",
    re.IGNORECASE,
)


def is_answer(response: ResponseText, shown: str) -> bool:
    """Whether the response is an attempt at an answer. `shown` is the text of the prompt: profile and request.

    It is none if it has fewer than `FEWEST_WORDS` words, is a short refusal, repeats one passage over and over, or is
    for the greater part a copy of the prompt.
    """
    words = _words(response.text)
    if len(words) < FEWEST_WORDS or (len(words) < _REFUSAL_WORDS and _REFUSAL.match(_straight(response.text))):
        return False
    runs = _runs(words)
    copied = set(_runs(_words(shown)))
    return len(set(runs)) > _DISTINCT * len(runs) and sum(run in copied for run in runs) <= _COPIED * len(runs)


def _words(text: str) -> list[str]:
    """The words in lower case; a hyphen parts words here, because small models loop within one compound."""
    return _WORD.findall(text.lower())


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    """All runs of `_RUN` words in a row."""
    return [tuple(words[n : n + _RUN]) for n in range(len(words) - _RUN + 1)]


def _straight(text: str) -> str:
    """The text with straight apostrophes."""
    return text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
