r"""Read the number that a response gives as its answer.

    "... 9 * 2 = 18 dollars. #### 18"        18
    "It costs $1,234.50 in all"              1234.5
    "The answer is 1/2, half of it."         0.5
    "The answer is 4 or 5."                  None: two different answers

The rules, in their order, are in docs/answers.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from mipo_bench.harness.types import Reading
from mipo_bench.tasks.reading.answer_text import answer_text
from mipo_bench.tasks.reading.marks import Mark, marks

_DIGITS = r"(?:\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d{1,309})(?:\.\d+)?|\.\d+"
_CURRENCY = r"(?:US|A|C)?[$\u20ac\u00a3\u00a5\u20b9]|Rs\.? ?|USD ?|EUR ?"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_VALUE = re.compile(
    rf"(?P<sign>[-+] ?)?(?:{_CURRENCY})?(?P<inner>[-+])?(?: ?{_CURRENCY})?(?P<digits>{_DIGITS})"
    rf"(?:(?: and)? (?P<part>\d{{1,4}}) ?/ ?(?P<parts>\d{{1,4}})(?![\d/])| ?/ ?(?P<under>{_DIGITS})(?![\d/]))?"
    r"(?: ?(?:x|\*|\u00d7|\\times|\\cdot) ?10 ?\^ ?\{?(?P<ten>[-+]?\d{1,3})\}?|[eE](?P<exponent>[-+]?\d{1,3})(?!\w))?"
    r"(?: ?\^ ?\{?(?P<power>\d{1,2})\}?)?"
    rf"(?P<half> and a half\b)?(?: (?P<scale>{'|'.join(_SCALES)})s?\b)?(?P<percent> ?%)?",
    re.IGNORECASE,
)
_UNIT_POWER = re.compile(r"(?<=[a-zA-Z\u00b0)])\^ ?\{? ?[-\d\\circ]+\}?")
_FRAC = re.compile(r"(?<=(\d))? ?\\[dtc]?frac ?(?:\{ ?([^{}]{1,40}) ?\} ?\{ ?([^{}]{1,40}) ?\}|(\d)(\d))")
_NEXT = re.compile(r"[ $]*(?:[^\W\d]{1,20}[ .]*){0,2}[ $]*(?:or|and|to|,|/|&|;|-)?[ $]*(?:also |or |and )?[ $~]*", re.I)
_RATE = re.compile(r"\b(?:for|per|in|of|at|each|by)\b", re.IGNORECASE)
_UNREAD = re.compile(r"\\(?:sqrt|pi|frac|log|ln|sin|cos|infty|pm)|[\u03c0\u221a\u221e]")
_SHORT_ANSWER = re.compile(r"^ ?A ?:", re.MULTILINE)
_CHECK = re.compile(r"^ ?(?:check|verification|to verify|let'?s (?:check|verify)|proof|note)\b", re.I)
_UNIT = re.compile(r"[ $]*(?:[a-z\u00b0/]+\.?(?: [a-z]+){0,2})?[ $.!]*")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*", re.I)
_SUM = re.compile(r" ?[a-z$%]{0,12} ?[-+*/x\u00d7\u00f7=][\w.,$%+\-*/\u00d7\u00f7()= ]*", re.IGNORECASE)
_LONGEST_SUM = 120
_LARGEST, _LARGEST_BASE = int(sys.float_info.max), 10**6
_LONGEST_LINE = 2000
"""Most characters of a line, from its end, in which the last number is looked for."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in a text; `percent` values equal their share too."""

    number: Fraction
    start: int
    end: int
    percent: bool

    def same(self, other: _Value) -> bool:
        """Whether two values are the same answer: 25% is 1/4."""
        shares = {v.number / 100 for v in (self, other) if v.percent}
        return self.number == other.number or bool(shares & {self.number, other.number})


def read_number(response: str) -> Reading:
    """The number that a response gives as its answer, in plain digits, and how it was found. Never raises."""
    answer = answer_text(response)
    text = _arithmetic(answer.text)
    found = _alone(text) or _marked(text) or _last(text) or Reading(None, "none", "no answer")
    return Reading(found.value, found.way, found.rule, answer.invented_turn)


def final_number(response: str) -> float | None:
    """The number that a response gives as its answer; None if it gives none, or several."""
    value = read_number(response).value
    return None if value is None else float(value)


def number_text(value: float) -> str:
    """A finite number in plain digits (no exponent); a whole number has no decimal point."""
    return str(int(value)) if value == int(value) else f"{Decimal(repr(float(value))):f}"


def _arithmetic(text: str) -> str:
    """The text with LaTeX fractions as a/b, and without powers of units."""
    if "frac" in text:
        text = _FRAC.sub(_slashed, text)
    return _UNIT_POWER.sub("", text) if "^" in text else text


def _slashed(found: re.Match[str]) -> str:
    above, below = (found[2], found[3]) if found[2] else (found[4], found[5])
    return f"{' ' if found[1] else ''}{above.strip()}/{below.strip()}"


def _alone(text: str) -> Reading | None:
    """A response that is nothing but a value."""
    if len(text) > 60 or "\n" in text.strip():
        return None
    value = _whole(text)
    return Reading(_digits(value), "alone", "a value alone") if value else None


def _marked(text: str) -> Reading | None:
    """The value behind the best mark that has one. Several different values, and roots, are no answer."""
    for mark in marks(text, more_colons=_SHORT_ANSWER):
        if mark.rule == r"\boxed" and _UNREAD.search(mark.tail):
            return Reading(None, "none", mark.rule)
        values = _answers(mark)
        if values:
            same = all(values[0].same(other) for other in values[1:])
            return Reading(_digits(values[0]) if same else None, mark.way if same else "none", mark.rule)
    return None


def _answers(mark: Mark) -> list[_Value]:
    """The first complete value behind a mark, and the values that stand beside it as alternatives."""
    tail = mark.tail.strip(" $")
    if mark.whole:
        value = _whole(tail)
        return [value] if value else []
    if re.match(r"\W*not\b", tail, re.I):
        return []
    tail = _in_digits(tail)
    values = list(_values(tail))
    if not values:
        return []
    result = _result(tail, values)
    return [result] if result else _alternatives(tail, values)


def _alternatives(tail: str, values: list[_Value]) -> list[_Value]:
    """The first value, and each further one that only a unit and a word such as "or" part from the one before."""
    found = values[:1]
    for value in values[1:]:
        between = tail[found[-1].end : value.start]
        if not _NEXT.fullmatch(between) or _RATE.search(between):
            break
        found.append(value)
    return found


def _result(tail: str, values: list[_Value]) -> _Value | None:
    """The result of a sum "5 + 5 = 10" that begins with the first value; None if it begins no sum."""
    start = values[0].end
    end = tail.rfind("=", start, start + _LONGEST_SUM) + 1
    if not end or not _SUM.fullmatch(tail[start:end]) or len(re.findall(r"[a-z]{2,}", tail[start:end], re.I)) > 4:
        return None
    return next((value for value in values if value.start >= end), None)


def _whole(text: str) -> _Value | None:
    """The value of a text that holds nothing else but a unit of at most two words in small letters."""
    text = _in_digits(text.strip(" $.!"))
    value = next(_values(text), None)
    before = text[: value.start].strip(" $~\u2248=:") if value else text
    before = before.removeprefix("-").strip()
    if value is None or before or not _UNIT.fullmatch(text[value.end :]):
        return None
    return value


def _last(text: str) -> Reading | None:
    """The last number of the text, before a check of the result; number words count where there are no digits."""
    lines = text.split("\n")
    checks = [n for n, line in enumerate(lines) if n and _CHECK.match(line)]
    for part in (lines[: checks[0]] if checks else [], lines):
        for line in reversed(part):
            values = list(_values(line[-_LONGEST_LINE:]))
            if values:
                return Reading(_digits(values[-1]), "last number", "the last number")
    values = list(_values(_words_to_digits(text[-_LONGEST_LINE:])))
    return Reading(_digits(values[-1]), "last number", "the last number") if values else None


def _values(text: str) -> Iterator[_Value]:
    """The values of a plain text, in order."""
    for found in _VALUE.finditer(text):
        number = _number(found, text)
        if number is not None:
            yield _Value(number, found.start(), found.end(), bool(found["percent"]))


def _number(found: re.Match[str], text: str) -> Fraction | None:
    """The number of a match; None for a division by zero, digits in a word ("h2o") and what no float holds."""
    if re.match(r"[^\W\d_]", text[max(0, found.start("digits") - 1) : found.start("digits")]) and not found["sign"]:
        return None
    number = _plain_number(found["digits"])
    if found["part"] and int(found["parts"]):
        number += Fraction(int(found["part"]), int(found["parts"]))
    if found["under"]:
        under = _plain_number(found["under"])
        if not under:
            return None
        number /= under
    number *= Fraction(10) ** int(found["ten"] or found["exponent"] or 0)
    if found["power"]:
        number = number ** int(found["power"]) if number < _LARGEST_BASE else Fraction(_LARGEST + 1)
    number += Fraction(1, 2) if found["half"] else 0
    number *= 10 ** _SCALES[found["scale"].lower()] if found["scale"] else 1
    if number > _LARGEST:
        return None
    return -number if _is_negative(found, text) else number


def _plain_number(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", ""))


def _is_negative(found: re.Match[str], text: str) -> bool:
    """Whether a minus is a sign: not an operator, nor the hyphen of a list or behind a word."""
    if found["inner"] == "-":
        return True
    sign = found["sign"] or ""
    if not sign.startswith("-"):
        return False
    before = text[: found.start()].rstrip(" $")
    if before[-1:].isdigit() or before[-1:] in (")", "%"):
        return False
    joined = text[: found.start()][-1:]
    if sign == "-":
        return not joined.isalpha()
    return bool(before) and before[-1] in "=(<>+*/"


def _in_digits(tail: str) -> str:
    """The tail with number words as digits, where it begins with one or has no digits."""
    first = _WORD.search(tail)
    begins = first is not None and not re.search(r"\d", tail[: first.start()])
    if not re.search(r"\d", tail) or (begins and first and _words_to_digits(first[0]) != first[0]):
        return _words_to_digits(tail)
    return tail


def _words_to_digits(text: str) -> str:
    """The text with English number words as digits."""
    from text_to_num import alpha2digit

    return str(alpha2digit(text, "en", threshold=0))


def _digits(value: _Value) -> str:
    """The value in plain digits, as targets are written; fractions as the nearest decimal."""
    if value.number.denominator == 1:
        return str(value.number.numerator)
    return number_text(float(value.number))
