r"""Read the option that a response chooses: by its letter, or by its name.

    "The answer is (c), because ..."          C
    "Answer: A noble gas, so neon."           the letter of "neon"
    "Answer: B or C"                          None: two different answers

The rules, in their order, are in docs/answers.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from string import ascii_uppercase

from mipo_bench.harness.types import Reading, Way
from mipo_bench.tasks.reading.answer_text import answer_text
from mipo_bench.tasks.reading.marks import marks
from mipo_bench.tasks.reading.names import Names

_OPEN, _CLOSE = r"[(\[{$\"'<]*", r"[)\]}$\"'>]*"
_ENDS = r"(?=\s*(?:[).,:;!?\]]|$|\n|-\s|because\b|since\b|as it\b|is\b))"
_NOT = re.compile(
    r"\b(?:not|isn't|is not|never|nor|neither)\s+(?:option |choice |answer )?[(\[]?[A-Za-z]\b[)\]]?", re.I
)


@dataclass(frozen=True)
class _Letters:
    """The patterns of the letters of one set of options."""

    capitals: str

    @cached_property
    def one(self) -> str:
        """A letter with its decoration: a capital with a word's end; A and I, and small letters, only before an end."""
        plain_capitals = "".join(c for c in self.capitals if c not in "AI") or r"\Z"
        return (
            rf"{_OPEN}(?:(?P<capital>[{plain_capitals}])(?![\w'^])(?!\.\s?[A-Z]\.)|(?P<careful>[{self.capitals}])"
            rf"(?![\w'])(?!\.\s?[A-Z]\.){_ENDS}|(?<=[(\[])(?P<bracketed>[{self.capitals.lower()}])(?=[)\]])"
            rf"|(?P<small>[{self.capitals.lower()}])(?=\s*(?:[).,:;]|$|\n))){_CLOSE}"
        )

    @cached_property
    def begins(self) -> re.Pattern[str]:
        """A letter at the beginning of a text behind a mark."""
        return re.compile(rf"\W*?(?:the )?(?:(?:correct |right )?(?:option|choice|letter|answer) (?:is )?)?{self.one}")

    @cached_property
    def several(self) -> re.Pattern[str]:
        """Two letters that a comma or a word joins."""
        one = rf"[(\[]?\b([{self.capitals}])\b[)\]]?"
        return re.compile(rf"\W*(?:both |either |options? )?{one}\s?(?:,\s?(?:or |and )?|/|&|\bor\b|\band\b)\s?{one}")

    @cached_property
    def phrases(self) -> re.Pattern[str]:
        """A phrase that chooses, with the letter behind it, or before "is correct"."""
        noun = r"(?:option|choice|answer|letter|one|it|that)"
        lead = (
            rf"(?:\b{noun},? (?:is|was|would be|should be|must be|will be|has to be)(?: therefore| thus| clearly)?"
            r"|\b(?:choose|pick|select|go with|went with|chose|picked|selected|choosing|opt for|say)"
            r"|\b(?:so|therefore|thus|hence|consequently),?(?: (?:it|the answer) (?:is|must be))?)"
            r":?\s(?:option |choice |answer |letter )?"
        )
        letter = rf"[(\[]?(?P<first>[{self.capitals}])[)\]]?"
        correct = rf"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)? ?{letter} is (?:the )?(?:correct|right|best)"
        return re.compile(rf"(?i:{lead}){self.one}|{correct}")

    @cached_property
    def bracketed(self) -> re.Pattern[str]:
        """A letter before a closing bracket anywhere, or before a colon or full stop at the beginning of a line."""
        return re.compile(rf"(?<!\w)([{self.capitals}])\)|(?m:^)\W{{0,3}}([{self.capitals}])(?:[):]|\.(?!\s?[A-Z]\.))")

    @cached_property
    def alone(self) -> re.Pattern[str]:
        """A line that is a letter alone."""
        anyone = self.capitals + self.capitals.lower()
        return re.compile(rf"\W*(?:(?:option|choice) )?([{anyone}])\W*", re.I)


@lru_cache
def _letters(count: int) -> _Letters:
    return _Letters(ascii_uppercase[:count])


def read_letter(response: str, options: Sequence[str]) -> Reading:
    """The letter of the option that a response chooses, and how it was found. Never raises.

    More than 26 options have no letters: the value is None.
    """
    answer = answer_text(response)
    if not 0 < len(options) <= len(ascii_uppercase):
        return Reading(None, "none", "no answer", answer.invented_turn)
    found = _Reader(answer.text, Names(options), _letters(len(options))).read()
    return Reading(found.value, found.way, found.rule, answer.invented_turn)


def chosen_letter(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a response chooses; None if it names no option, or several."""
    return read_letter(response, options).value


def read_name(response: str, options: Sequence[str]) -> Reading:
    """The option that a response names in full, where the prompt shows no letters; the value is the option's text."""
    answer = answer_text(response)
    text, names = answer.text, Names(options)
    places: list[tuple[Way, str, int | None]] = [("name", "the whole answer", names.exact(text))]
    places.append(("name", "the first name", names.first(text)))
    places += [(mark.way, mark.rule, names.chosen(mark.tail, weak=True)) for mark in marks(text)]
    places.append(("name", "the only option named", names.chosen(text, weak=True)))
    for way, rule, place in places:
        if place is not None:
            return Reading(options[place], way, rule, answer.invented_turn)
    return Reading(None, "none", "no answer", answer.invented_turn)


@dataclass(frozen=True)
class _Reader:
    """Applies the rules in their order to one plain text."""

    text: str
    names: Names
    letters: _Letters

    @cached_property
    def masked(self) -> str:
        """The text without names that hold a letter, such as "vitamin C", and without negated letters."""
        return _NOT.sub(" ", self.names.masked(self.text, self.letters.capitals))

    def read(self) -> Reading:
        lines = [line for line in self.text.split("\n") if line.strip()]
        return (
            self._marked()
            or self._alone(lines[-1:], "the last line")
            or self._alone(lines[:1], "the first line")
            or self._last_sentence()
            or self._phrase()
            or self._begins()
            or self._bracketed()
            or self._named()
            or Reading(None, "none", "no answer")
        )

    def _marked(self) -> Reading | None:
        """The option behind the best mark that has one; several different letters there are no answer."""
        for mark in marks(self.masked):
            tail = mark.tail.strip()
            named = self.names.exact(self.names.unmasked(tail)) is not None
            if mark.whole and not named and not self.letters.begins.fullmatch(tail):
                continue
            if (found := self.letters.several.match(tail)) and found[1] != found[2]:
                return Reading(None, "none", mark.rule)
            if letter := self._behind(tail):
                return Reading(letter, mark.way, mark.rule)
        return None

    def _behind(self, tail: str) -> str | None:
        """The option that the text behind a mark chooses."""
        original = self.names.unmasked(tail)
        if found := self.letters.begins.match(tail):
            return _letter_of(found)
        chosen = [_letter_of(found) for found in self.letters.phrases.finditer(tail)]
        if chosen:
            return chosen[-1]
        named = self.names.chosen(original, weak=True)
        if named is not None:
            return self.letters.capitals[named]
        number = re.fullmatch(r"\W*(?:option |number |no\. ?)?(\d{1,2})\W*", tail, re.I)
        place = int(number[1]) if number else 0
        return self.letters.capitals[place - 1] if 0 < place <= len(self.letters.capitals) else None

    def _alone(self, lines: list[str], rule: str) -> Reading | None:
        """The first or last line, if it is a letter alone."""
        found = self.letters.alone.fullmatch(lines[0]) if lines and len(lines[0]) < 40 else None
        return Reading(found[1].upper(), "alone", rule) if found else None

    def _last_sentence(self) -> Reading | None:
        """The last sentence, if it is a capital letter alone."""
        end = self.masked[-40:]
        found = re.search(rf"[.!?:;\n]\s+\W*([{self.letters.capitals}])\W*\Z", end)
        return Reading(found[1], "alone", "the last line") if found else None

    def _phrase(self) -> Reading | None:
        """The letter of the last phrase that chooses one."""
        chosen = [_letter_of(found) for found in self.letters.phrases.finditer(self.masked)]
        return Reading(chosen[-1], "phrase", "a phrase that chooses") if chosen else None

    def _begins(self) -> Reading | None:
        """A letter with a bracket, colon or full stop at the beginning ("B) neon"), if no line begins with another."""
        small = self.letters.capitals.lower()
        found = re.match(rf"\W{{0,3}}([{self.letters.capitals}{small}])(?:[):]|\.(?!\s?[A-Z]\.))(?:\s|$)", self.masked)
        others = {"".join(filter(None, pair)) for pair in self.letters.bracketed.findall(self.masked)}
        if found and not others - {found[1].upper()}:
            return Reading(found[1].upper(), "alone", "a letter at the beginning")
        return None

    def _bracketed(self) -> Reading | None:
        """The only letter in brackets; several are no answer, unless an option is named."""
        letters = {"".join(pair) for pair in self.letters.bracketed.findall(self.masked)}
        return Reading(next(iter(letters)), "alone", "the only letter") if len(letters) == 1 else None

    def _named(self) -> Reading | None:
        """The only option named."""
        place = self.names.chosen(self.text)
        return Reading(self.letters.capitals[place], "name", "the only option named") if place is not None else None


def _letter_of(found: re.Match[str]) -> str:
    return next(letter for letter in found.groups() if letter).upper()
