r"""Find the marks of an answer in a plain text, the best first.

Three ranks: `\boxed{}`, `<answer>`, `####` and a JSON field "answer"; then "Answer:"; then "the answer is". Within a
rank, the last mark comes first. A reader takes the first mark that has a value, so a mark without one is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from mipo_bench.harness.types import Way

_MOST_MARKS = 20
"""Most marks of a rank that are tried, from the last."""
_TAIL = 400
"""Most characters behind a mark that are read."""
_NOUN = r"(?:\banswer\b|答案|答え|정답|\bantwort\b|\bréponse\b|\brespuesta\b|\brisposta\b|\bresposta\b)"
_DETAIL = r"(?:\s?\([^()\n]{0,60}\))?(?:\s(?:to|in|for|of|as)\s[^.:=\n]{0,60}?)?(?:\s?\([^()\n]{0,60}\))?"
_BE = r"(?:would|should|must|will|has to|can only) be"
_VERB = rf"(?:is|was|are|equals|becomes|comes (?:out )?to|turns out to be|{_BE}|是|为|為)"
_FORMAL = re.compile(
    r"\\(?:boxed|fbox)\s?(?P<brace>\{)|\\boxed\s(?P<word>[^\s{]+)|<answer>(?P<tag>(?:(?!</?answer>)[\s\S]){0,300})"
    r"|####(?P<hashes>[^#\n][^\n]*|\n[^\n]*)|[\"'](?:final[_ ])?answer[\"']\s?:\s?(?P<json>[^\n]*)",
    re.IGNORECASE,
)
_HEADING = r"^[^\w\n]{0,20}(?:final|correct) answer[^\w\n]{0,20}$"
_COLON = re.compile(rf"{_NOUN}{_DETAIL}\s?(?:{_VERB}\s?)?[:=]|{_HEADING}", re.IGNORECASE | re.MULTILINE)
_PHRASE = re.compile(rf"{_NOUN}{_DETAIL},?\s?{_VERB}\b", re.I)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark: the kind of evidence, the rule's title, and the text behind it.

    `whole` says that the mark counts only where nothing but a value stands in `tail`.
    """

    way: Way
    rule: str
    tail: str
    whole: bool = False


def marks(text: str, *, more_colons: re.Pattern[str] | None = None) -> Iterator[Mark]:
    """The marks of a plain text, best first. `more_colons` are further marks of the second rank."""
    formal = list(_FORMAL.finditer(text))
    yield from (_formal(text, found) for found in islice(reversed(formal), _MOST_MARKS))
    colons = [*_COLON.finditer(text), *(more_colons.finditer(text) if more_colons else ())]
    colons.sort(key=lambda found: found.end())
    yield from (Mark("mark", "Answer:", _behind(text, m.end())) for m in islice(reversed(colons), _MOST_MARKS))
    phrases = list(_PHRASE.finditer(text))
    yield from (Mark("phrase", "the answer is", _behind(text, m.end())) for m in islice(reversed(phrases), _MOST_MARKS))


def _formal(text: str, found: re.Match[str]) -> Mark:
    if found["brace"]:
        return Mark("mark", r"\boxed", _braced(text, found.end()))
    if found["word"]:
        return Mark("mark", r"\boxed", found["word"])
    if found["tag"] is not None:
        return Mark("mark", "<answer>", found["tag"].strip())
    if found["json"] is not None:
        return Mark("mark", "JSON", found["json"].strip(" ,}\"'"))
    return Mark("mark", "####", found["hashes"].strip()[:_TAIL], whole=True)


def _braced(text: str, start: int) -> str:
    """The text from behind an opening brace to the brace that closes it, or to the end of what is read."""
    depth = 1
    for place, sign in enumerate(text[start : start + _TAIL], start):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return text[start:place]
    return text[start : start + _TAIL].partition("\n")[0]


def _behind(text: str, start: int) -> str:
    """The rest of the line; of an empty line, the next line with text."""
    rest = text[start : start + _TAIL].lstrip(" :*_")
    return rest.lstrip().partition("\n")[0] if rest.startswith("\n") else rest.partition("\n")[0]
