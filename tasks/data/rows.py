"""A row of a data set, read field by field; what is wrong is named with file, line and field."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.answers import LETTERS, NUMBER, number_text, to_number

_LARGEST = 1e300
"""Below this a number fits a float."""


@dataclass(frozen=True, slots=True)
class DataRow:
    """The fields of one row, and where it stands.

    `unit` is `line` in text files and `row` elsewhere, `number` counts from 1; `inside` names the field of an object
    that is read like a row of its own. `dropped` names the fields that were there and are not kept.
    """

    values: Mapping[str, Any]
    file: str
    number: int
    unit: str = "row"
    inside: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, {self.unit} {self.number}{f', {self.inside}' if self.inside else ''}"

    def wrong(self, field: str, problem: str) -> DataError:
        """An error about one field, to be raised."""
        return DataError(f"{self.where}: the field {field!r} {problem}.")

    def value(self, field: str) -> Any:
        """Any value. Raises DataError where the field is missing."""
        if field not in self.values:
            found = ", ".join(map(str, (*self.values, *self.dropped)))
            raise DataError(f"{self.where}: the field {field!r} is missing. Found: {found or 'none'}.")
        return self.values[field]

    def given(self, field: str) -> bool:
        """Whether there is a value: CSV knows no null, but empty cells."""
        return self.values.get(field) not in (None, "")

    def optional(self, field: str) -> str | None:
        """A text without the space around it; None where it is absent, null or empty. Raises DataError for others."""
        value = self.values.get(field)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if not isinstance(value, str):
            raise self.wrong(field, f"is {_shown(value)}, not a text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(field, "holds half of a character (a lone surrogate)") from error
        return value.strip() or None

    def text(self, field: str) -> str:
        """A text that is not empty, without the space around it."""
        self.value(field)
        found = self.optional(field)
        if found is None:
            raise self.wrong(field, "is empty")
        return found

    def key(self, field: str) -> str:
        """An identifier: a text, or a whole number as text (tables with gaps hold whole numbers as 12.0)."""
        value = self.value(field)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(field)

    def number_text(self, field: str) -> str:
        """A number, or a text that is one ("1,000", "145.0"), in plain digits."""
        return plain_number(self, field, self.value(field))

    def score(self, field: str) -> float | None:
        """A number; None where it is absent or null."""
        return float(self.number_text(field)) if self.given(field) else None

    def flag(self, field: str) -> bool:
        """True or false; false where it is absent or null."""
        value = self.values.get(field)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(field, f"is {_shown(value)}, neither true nor false")
        return value

    def whole(self, field: str, below: int) -> int:
        """A whole number from 0 to `below` - 1; a text of digits is one too (CSV)."""
        value = self.value(field)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
            raise self.wrong(field, f"is {_shown(value)}, not a whole number from 0 to {below - 1}")
        return value

    def mapping(self, field: str) -> DataRow:
        """An object; in CSV it is JSON. Its fields are read, and named in messages, like those of a row."""
        value = _decoded(self.value(field))
        if not isinstance(value, Mapping):
            raise self.wrong(field, f"is {_shown(value)}, not an object")
        return self._part(field, value)

    def sequence(self, field: str) -> list[Any]:
        """A list; in CSV it is JSON."""
        value = _decoded(self.value(field))
        if not isinstance(value, list | tuple):
            raise self.wrong(field, f"is {_shown(value)}, not a list")
        return list(value)

    def options(self, field: str) -> tuple[str, ...]:
        """The options of a multiple-choice question: two to ten texts."""
        found = self.texts(field)
        if not 2 <= len(found) <= len(LETTERS):
            raise self.wrong(field, f"holds {len(found)} options; 2 to {len(LETTERS)} are allowed")
        return found

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts, without the space around them."""
        values = self.sequence(field)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(field, "must hold nothing but texts")
        return tuple(value.strip() for value in values)

    def mappings(self, field: str) -> list[DataRow]:
        """A list of objects; `datasets` keeps some as an object of lists."""
        held = _decoded(self.value(field))
        values = _transposed(held) if isinstance(held, Mapping) else self.sequence(field)
        if not all(isinstance(value, Mapping) for value in values):
            raise self.wrong(field, "must hold nothing but objects")
        return [self._part(f"{field} {n}", value) for n, value in enumerate(values, 1)]

    def _part(self, field: str, values: Mapping[str, Any]) -> DataRow:
        return DataRow(values, self.file, self.number, self.unit, f"{self.inside}, {field}" if self.inside else field)


def plain_number(row: DataRow, field: str, value: object) -> str:
    """A number in plain digits: whole numbers without a point. Raises DataError naming the field."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = to_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise row.wrong(field, f"is {_shown(value)}, not a number")
    return number_text(value)


def rows_digest(rows: Iterable[DataRow]) -> str:
    """SHA-256 over the content of the rows in order, whatever kind of file they came from, hexadecimal."""
    h = hashlib.sha256()
    for row in rows:
        h.update(json.dumps(row.values, sort_keys=True, default=str).encode())
        h.update(b"\n")
    return h.hexdigest()


def unique(rows: Sequence[DataRow], field: str) -> dict[str, DataRow]:
    """The rows by an identifying field. Raises DataError naming both rows where two share one."""
    found: dict[str, DataRow] = {}
    for row in rows:
        key = row.key(field)
        if key in found:
            raise DataError(f"{row.where}: {field} {key!r} stands in {found[key].where} already. Remove one of them.")
        found[key] = row
    return found


def _decoded(value: object) -> object:
    """What a CSV cell holds as JSON; anything else as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _transposed(lists: Mapping[str, Any]) -> list[Any]:
    """One object for each position of the lists; nothing usable where they are no lists of one length."""
    if not all(isinstance(found, list | tuple) for found in lists.values()) or len({*map(len, lists.values())}) != 1:
        return [None]
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
