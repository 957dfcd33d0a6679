"""One row of a log or a table, and the checks of its fields; errors name file and place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.text import id_text
from mipo_bench.harness.errors import UserError, unknown
from mipo_bench.reports.logs.record import place_text

LARGEST = 1e50
"""Scores beyond this are refused: the fourth powers in the statistics need not be finite."""
_LONGEST_ID = 60
_LISTED = 20
_NO_VALUE = {"", "na", "nan", "n/a", "null", "none"}
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file; `place` counts from 1. In a CSV file every value is a text (`texts`)."""

    path: Path
    place: int
    fields: Mapping[str, Any]
    unit: str = "line"
    texts: bool = False

    def fail(self, message: str) -> NoReturn:
        """Raise UserError at this place."""
        raise UserError(f"{place_text(self.path, self.place, self.unit)}: {message}.")

    def get(self, field: str) -> Any:
        """The value of a field, None if there is none; `a.b` is the field b of the object a unless it is a name."""
        if field in self.fields or "." not in field:
            return self.fields.get(field)
        value: Any = self.fields
        for part in field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def has(self, field: str) -> bool:
        """Whether the row has the field and it is not null."""
        value = self.get(field)
        return value is not None and not (self.texts and value == "")

    def text(self, field: str) -> str:
        """The field as text: a string or a whole number. Raises UserError for any other value."""
        value = self.get(field)
        try:
            text = id_text(value)
        except ValueError:  # more digits than Python writes
            text = None
        if text is None or (self.texts and text == ""):
            self.fail(f"{field} is {show(value)}; a string or an integer is needed")
        return text

    def integer(self, field: str) -> int:
        """The field as a whole number of at most 64 bits; 3.0 is one. Raises UserError for any other value."""
        given = self.get(field)
        value = _number(given) if self.texts and isinstance(given, str) else given
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if value is None or isinstance(value, bool) or not whole or abs(value) >= 2**63:
            self.fail(f"{field} is {show(given)}; an integer is needed")
        return int(value)

    def score(self, field: str, *, allow_missing: bool, values: Mapping[str, float] | None = None) -> float:
        """The field as a finite number, or NaN for a missing score if `allow_missing`; true is 1 and false 0.

        `values` gives texts a number. Raises UserError for any other value, and for a number beyond `LARGEST`.
        """
        value = self.get(field)
        if value is None and "." not in field and field not in self.fields:
            self.fail(f"the field {field} is missing; the fields are {listed(sorted(self.fields))}")
        return self.number(field, value, allow_missing=allow_missing, values=values)

    def number(
        self, field: str, value: object, *, allow_missing: bool, values: Mapping[str, float] | None = None
    ) -> float:
        """The score `value`, read as `score` reads it; `field` is its name in messages."""
        if isinstance(value, str):
            value = self._score_text(field, value, values or {})
        if not isinstance(value, int | float | None):
            self.fail(f"{field} is {show(value)}; a finite number is needed")
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if not allow_missing:
                self.fail(
                    f"{field} is {show(value)}; a finite number is needed. --missing drop leaves such items "
                    "out, --missing zero counts them as 0"
                )
            return math.nan
        if abs(value) > LARGEST:
            self.fail(f"{field} is {show(value)}; a finite number is needed, at most {LARGEST:g}")
        return float(value)

    def _score_text(self, field: str, value: str, values: Mapping[str, float]) -> float | None:
        if value in values:
            return values[value]
        if values and value:
            known = ", ".join(values)
            if not self.texts or _number(value) is None:
                self.fail(f"{field} is the text {show(value)}, and --map gives a score for {known} only")
        if not self.texts:
            self.fail(
                f"{field} is the text {show(value)}; a finite number is needed, without quotes. --map TEXT=NUMBER,... "
                "gives texts a score"
            )
        plain = value.strip().lower()
        if plain in _NO_VALUE:
            return None
        number = _TRUTH.get(plain, _number(plain))
        if number is None:
            self.fail(
                f"{field} is the text {show(value)}; a number with a decimal point and without separators of thousands "
                "is needed. --map TEXT=NUMBER,... gives texts a score"
            )
        return number


def _number(text: str) -> float | None:
    """The number that a cell of a CSV file holds; None if it holds none. `1_000` and `nan` are none."""
    try:
        return float(text) if "_" not in text and text.strip().lower() not in _NO_VALUE else None
    except ValueError:
        return None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object; an empty one for anything else, which files of other programs may hold."""
    return value if isinstance(value, Mapping) else {}


def unknown_name(kind: str, value: str, known: Iterable[object]) -> str:
    """The message that a file has no such name, with the names that it has, each cut to 60 characters."""
    return unknown(kind, value, (str(name)[:_LONGEST_ID] for name in known))


def listed(names: Iterable[object]) -> str:
    """The first 20 names, each cut to 60 characters, and the number of the others."""
    known = [str(name) for name in names]
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return (", ".join(name[:_LONGEST_ID] for name in known[:_LISTED]) or "none") + more


def show(value: object) -> str:
    """The value as JSON, cut to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def short_id(text: str) -> str:
    """A text as an item id: itself, or its beginning and a digest where it is long."""
    return text if len(text) <= _LONGEST_ID else f"{text[: _LONGEST_ID - 20]}... {digest([text])[:12]}"
