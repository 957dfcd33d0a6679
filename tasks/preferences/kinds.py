"""The kinds of preferences: their values, the requests on which each can be checked, their checks, their exclusions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mipo_bench.tasks.preferences.checks import figures, layout, wording
from mipo_bench.tasks.preferences.checks.response_text import ResponseText


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of preference.

    It is checked on requests that are tagged `about`, on every request if that is empty. A user has one of `values`.
    """

    name: str
    check: Callable[[ResponseText, str], bool]
    values: tuple[str, ...] = ("",)
    about: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """A kind with the value that one user wants, such as `max_words` with 40; an empty value where there is none."""

    kind: str
    value: str = ""

    @property
    def measured_as(self) -> str:
        """The key of its base rate. All names share one."""
        return f"{self.kind}={self.value}" if self.value and self.kind != "name" else self.kind

    def met_by(self, response: ResponseText) -> bool:
        """Whether a response meets it."""
        return KINDS[self.kind].check(response, self.value)

    def concerns(self, tags: Sequence[str]) -> bool:
        """Whether it can be checked on a request with these tags."""
        return KINDS[self.kind].about in ("", *tags)


TRAINING_NAMES = (
    "Priya", "Tomas", "Ingrid", "Kofi", "Leila", "Marek", "Yuki", "Sofia", "Dmitri", "Amara", "Felix", "Noor", "Ruben",
    "Hana", "Oscar", "Zeynep", "Pavel", "Lucia", "Owen", "Farah", "Bruno", "Mina", "Viktor", "Salma",
)  # fmt: skip
EVALUATION_NAMES = (
    "Aisha", "Jonas", "Mei", "Rafael", "Greta", "Kwame", "Elena", "Sanjay", "Freya", "Malik", "Clara", "Hugo", "Nadia",
    "Stefan", "Imani", "Lars",
)  # fmt: skip
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("max_words", layout.max_words, ("40", "60")),
        Kind("word_range", layout.word_range, ("40-70", "60-90")),
        Kind("sentences", layout.sentence_count, ("3", "4")),
        Kind("short_sentences", layout.short_sentences, ("15",)),
        Kind("bullets", layout.bullets),
        Kind("numbered_steps", layout.numbered_steps, about="how_to"),
        Kind("no_lists", layout.no_lists),
        Kind("table", layout.table, about="comparison"),
        Kind("heading", layout.heading),
        Kind("bold", layout.bold),
        Kind("no_markdown", layout.no_markdown),
        Kind("greeting", wording.greeting),
        Kind("no_preamble", wording.no_preamble),
        Kind("answer_first", wording.answer_first, about="yes_no"),
        Kind("closing_question", wording.closing_question),
        Kind("closing_summary", wording.closing_summary),
        Kind("name", wording.name, TRAINING_NAMES + EVALUATION_NAMES),
        Kind("no_emoji", wording.no_emoji),
        Kind("emoji", wording.emoji),
        Kind("no_exclamation", wording.no_exclamation),
        Kind("no_contractions", wording.no_contractions),
        Kind("simple_words", wording.simple_words),
        Kind("language", wording.language, tuple(wording.CODES)),
        Kind("british_spelling", wording.british_spelling, about="spelling"),
        Kind("example", wording.example),
        Kind("pros_and_cons", wording.pros_and_cons, about="decision"),
        Kind("units", figures.units, ("metric", "imperial"), about="quantity"),
        Kind("dates", figures.dates, ("iso", "day_first"), about="date"),
        Kind("type_hints", figures.type_hints, about="code"),
        Kind("docstrings", figures.docstrings, about="code"),
    )
}
LENGTHS = ("max_words", "word_range", "sentences")
"""Every user has exactly one of these. It bounds the response, so that one that follows it fits the token limit."""


def _each_with(kind: str, others: str) -> set[frozenset[str]]:
    return {frozenset((kind, other)) for other in others.split()}


EXCLUDED: frozenset[frozenset[str]] = frozenset(
    {frozenset(pair) for pair in combinations(LENGTHS, 2)}
    | _each_with("no_lists", "bullets numbered_steps table")
    | _each_with("bullets", "numbered_steps table sentences")
    | _each_with("numbered_steps", "table sentences")
    | _each_with("sentences", "example short_sentences")
    | _each_with("no_markdown", "bullets numbered_steps table heading bold type_hints docstrings")
    | _each_with("greeting", "no_preamble answer_first heading")
    | _each_with("heading", "answer_first no_preamble")
    | _each_with("closing_question", "closing_summary")
    | _each_with("no_emoji", "emoji")
    | _each_with(
        "language",
        "word_range greeting no_preamble answer_first closing_summary no_contractions simple_words british_spelling"
        " example pros_and_cons units dates",
    )
)
"""Pairs of kinds that no user has together: they contradict each other, or one is checked for English words only."""


def compatible(kinds: Sequence[str]) -> bool:
    """Whether a user may have all these kinds together."""
    return not any(frozenset(pair) in EXCLUDED for pair in combinations(kinds, 2))


def to_target(preferences: Sequence[Preference]) -> str:
    """The preferences as the target of an item: JSON of `[kind, value]` pairs."""
    return json.dumps([[preference.kind, preference.value] for preference in preferences])


def of_target(target: str) -> tuple[Preference, ...]:
    """The preferences of an item's target."""
    return tuple(Preference(kind, value) for kind, value in json.loads(target))
