"""Find the options that a text names in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from string import ascii_uppercase

from mipo_bench.tasks.reading.plain import plain

_NEGATED = re.compile(
    r"(?:\b(?:not|cannot|never|nor|neither|rather than|instead of|except|unlike)|n't)\b"
    r"(?:(?!\bbut\b)[^,;:.!?\n]){0,60}$",
    re.IGNORECASE,
)
_STRIP = " \t\n.,;:!?\"'()[]$"


class Names:
    """The names of the options of one item. Case, quotes, and full stops at the end do not matter."""

    def __init__(self, options: Sequence[str]) -> None:
        self._names = [" ".join(plain(option).lower().split()).strip(_STRIP) for option in options]

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        names = sorted({name for name in self._names if name}, key=len, reverse=True)
        joined = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in names)
        return re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE) if names else None

    def masked(self, text: str, letters: str) -> str:
        """The text with every name that holds one of the letters as a word replaced by a sign for the option."""
        if self._pattern is None:
            return text
        holds = re.compile(rf"(?<!\w)[{letters}{letters.lower()}](?!\w)")

        def mask(found: re.Match[str]) -> str:
            name = _key(found[0])
            return f"\ue000{self._names.index(name)}\ue001" if len(name) > 1 and holds.search(name) else found[0]

        return self._pattern.sub(mask, text.replace("\ue000", " ").replace("\ue001", " "))

    def unmasked(self, text: str) -> str:
        """The text with the names again."""
        return re.sub("\ue000(\\d+)\ue001", lambda found: self._names[int(found[1])], text)

    def exact(self, text: str) -> int | None:
        """The only option whose name is the whole text."""
        places = [n for n, name in enumerate(self._names) if name and name == _key(text)]
        return places[0] if len(places) == 1 else None

    def first(self, text: str) -> int | None:
        """The option that a text begins with, before a bracket, comma, colon, full stop or end of a line."""
        found = self._pattern.search(text) if self._pattern else None
        begins = found is not None and not text[: found.start()].strip(_STRIP)
        if found is None or not begins or not re.match(r"\s*[)\],.;:!\n]", text[found.end() :]):
            return None
        places = [n for n, name in enumerate(self._names) if name == _key(found[0])]
        return places[0] if len(places) == 1 else None

    def chosen(self, text: str, *, weak: bool = False) -> int | None:
        """The only option that the text names, not negated; None if it names none, or several.

        A text that begins with a name and a comma or full stop chooses that option ("No, because yes ..."). A number
        or a single letter is a name only where `weak` is true, or where it is the whole text; a capital that is no
        word and no option's letter ("The symbol of nitrogen is N.") always is one.
        """
        if (whole := self.exact(text)) is not None:
            return whole
        if (first := self.first(text)) is not None and (weak or not self._is_weak(self._names[first])):
            return first
        found = self._pattern.finditer(text) if self._pattern else ()
        strong = [m for m in found if weak or not self._is_weak(m[0].strip(_STRIP))]
        named = {_key(m[0]) for m in strong if not _NEGATED.search(text[max(0, m.start() - 90) : m.start()])}
        places = [n for n, name in enumerate(self._names) if name in named]
        return places[0] if len(places) == 1 else None

    def _is_weak(self, name: str) -> bool:
        """Whether a name, as the text writes it, is a number or a letter that a text can hold in passing."""
        if len(name) == 1 and name in ascii_uppercase[len(self._names) :].replace("I", ""):
            return False
        return re.fullmatch(r"[\d.,\s]*|\w", name) is not None


def _key(text: str) -> str:
    return " ".join(text.lower().split()).strip(_STRIP)
