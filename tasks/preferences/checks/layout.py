"""Checks of length and layout. Each takes a parsed response and the value of the preference, and tells if it is met."""

from __future__ import annotations

import re

from mipo_bench.tasks.preferences.checks.response_text import WORD, Block, ResponseText

_TITLE = re.compile(r"^\s*(\*\*|__)[^*_\n]+\1\s*$")


def max_words(response: ResponseText, value: str) -> bool:
    """At most this number of words outside code blocks."""
    return len(response.words) <= int(value)


def word_range(response: ResponseText, value: str) -> bool:
    """A number of words in this range, code blocks left out."""
    low, high = map(int, value.split("-"))
    return low <= len(response.words) <= high


def sentence_count(response: ResponseText, value: str) -> bool:
    """Exactly this number of sentences; headings, tables and code are no sentences."""
    return len(response.sentences) == int(value)


def short_sentences(response: ResponseText, value: str) -> bool:
    """No sentence has more than this number of words."""
    words = (len(WORD.findall(sentence)) for sentence in response.sentences)
    return bool(response.sentences) and max(words) <= int(value)


def bullets(response: ResponseText, _: str) -> bool:
    """At least two bullet points."""
    return response.bullets >= 2


def numbered_steps(response: ResponseText, _: str) -> bool:
    """At least two numbered points."""
    return response.numbered >= 2


def no_lists(response: ResponseText, _: str) -> bool:
    """No list of two points or more. A single line such as "1969. The year ..." is no list."""
    return response.bullets < 2 and response.numbered < 2


def table(response: ResponseText, _: str) -> bool:
    """A Markdown table."""
    return "table_open" in response.marks


def heading(response: ResponseText, _: str) -> bool:
    """The response begins with a Markdown heading, or with a line that is wholly bold."""
    first = response.blocks[:1] or (Block("paragraph", "", ""),)
    line = response.text.partition("\n")[0]
    return first[0].kind == "heading" or bool(_TITLE.match(line))


def bold(response: ResponseText, _: str) -> bool:
    """Something is bold."""
    return "strong_open" in response.marks


def no_markdown(response: ResponseText, _: str) -> bool:
    """No heading, emphasis, code, table, rule, link or list."""
    return not response.has_markup
