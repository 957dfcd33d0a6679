"""A row of a data set with typed access to its fields.

Each method of `DataRow` reads one field as one type. It raises DataError, which names file, line and field, for a field
that is missing or malformed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.answers import LETTERS, number_text
from mipo_bench.tasks.data.cells import decoded
from mipo_bench.tasks.data.numbers import LARGEST, written_number


@dataclass(frozen=True, slots=True)
class DataRow:
    """The fields of one row, with its place in the file.

    `number` counts lines or rows from 1; `unit` is `line` in text files and `row` in other files. `inside` is the path
    of the field, if the values are those of a nested object. `dropped` are the names of fields that were not kept.
    """

    values: Mapping[str, Any]
    file: str
    number: int
    unit: str = "row"
    inside: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The file, the line and the path of the field, for messages."""
        return f"{self.file}, {self.unit} {self.number}{f', {self.inside}' if self.inside else ''}"

    def wrong(self, field: str, problem: str) -> DataError:
        """A DataError about one field, for the caller to raise."""
        return DataError(f"{self.where}: the field {field!r} {problem}.")

    def value(self, field: str) -> Any:
        """The value of a field, of any type. Raises DataError if the field is missing."""
        if field not in self.values:
            found = ", ".join(map(str, (*self.values, *self.dropped)))
            raise DataError(f"{self.where}: the field {field!r} is missing. Found: {found or 'none'}.")
        return self.values[field]

    def given(self, field: str) -> bool:
        """Whether the field has a value. An empty text counts as none, because CSV has no null."""
        return self.values.get(field) not in (None, "")

    def optional(self, field: str) -> str | None:
        """A stripped text; None if it is absent, null, NaN or empty. Raises DataError for a value of another type."""
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
        """A stripped text. Raises DataError if it is missing or empty."""
        self.value(field)
        found = self.optional(field)
        if found is None:
            raise self.wrong(field, "is empty")
        return found

    def key(self, field: str) -> str:
        """An identifier: a text, or a whole number as text."""
        value = self.value(field)
        whole = _whole(value)
        return self.text(field) if whole is None else str(whole)

    def number_text(self, field: str) -> str:
        """A number, or a text that is one ("1,000", "145.0"; see `written_number`), in plain digits."""
        return plain_number(self, field, self.value(field))

    def score(self, field: str) -> float | None:
        """A number; None if it is absent, null or an empty text."""
        return float(self.number_text(field)) if self.given(field) else None

    def flag(self, field: str) -> bool:
        """True or false; false if it is absent or null."""
        value = self.values.get(field)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(field, f"is {_shown(value)}, neither true nor false")
        return value

    def whole(self, field: str, below: int) -> int:
        """A whole number from 0 to `below` - 1.

        A text of digits is accepted, because CSV has only texts, and 3.0, as which pandas may store a whole number.
        """
        value = self.value(field)
        text = value.strip() if isinstance(value, str) else ""
        found = _whole(float(text) if re.fullmatch(r"[0-9]{1,9}(?:\.0+)?", text) else value)
        if found is None or not 0 <= found < below:
            raise self.wrong(field, f"is {_shown(value)}, not a whole number from 0 to {below - 1}")
        return found

    def mapping(self, field: str) -> DataRow:
        """A nested object, as a row of its own. In CSV the cell holds it as JSON."""
        value = decoded(self.value(field))
        if not isinstance(value, Mapping):
            raise self.wrong(field, f"is {_shown(value)}, not an object{_as_json(value)}")
        return self._part(field, value)

    def holds_object(self, field: str) -> bool:
        """Whether the field is there and holds a nested object."""
        return isinstance(decoded(self.values.get(field)), Mapping)

    def sequence(self, field: str) -> list[Any]:
        """A list. In CSV the cell holds it as JSON."""
        value = decoded(self.value(field))
        if not isinstance(value, list | tuple):
            raise self.wrong(field, f"is {_shown(value)}, not a list{_as_json(value)}")
        return list(value)

    def options(self, field: str) -> tuple[str, ...]:
        """The options of a multiple-choice question: two to ten stripped texts, none of them empty."""
        return self.checked_options(field, self.sequence(field))

    def checked_options(self, field: str, values: Sequence[object]) -> tuple[str, ...]:
        """These values of a field as options. Raises DataError unless they are two to ten texts that are not empty."""
        if not 2 <= len(values) <= len(LETTERS):
            raise self.wrong(field, f"holds {len(values)} options; 2 to {len(LETTERS)} are allowed")
        options = []
        for n, value in enumerate(values, 1):
            if value is None:
                hint = 'a program may have taken the word "None" or "NA" for a missing value'
                raise self.wrong(field, f"has null for option {n}; {hint}")
            if not isinstance(value, str):
                raise self.wrong(field, f"has {_shown(value)} for option {n}, not a text")
            if not value.strip():
                raise self.wrong(field, f"has an empty option {n}")
            options.append(value.strip())
        return tuple(options)

    def keys(self, field: str) -> tuple[str, ...]:
        """A list of identifiers: texts, or whole numbers as texts."""
        values = [value.strip() if isinstance(value, str) else _whole(value) for value in self.sequence(field)]
        if None in values or "" in values:
            raise self.wrong(field, "must be a list of texts or whole numbers")
        return tuple(map(str, values))

    def mappings(self, field: str) -> list[DataRow]:
        """A list of nested objects. `datasets` may store it as an object of lists of one length."""
        held = decoded(self.value(field))
        values = _transposed(held) if isinstance(held, Mapping) else self.sequence(field)
        if not all(isinstance(value, Mapping) for value in values):
            raise self.wrong(field, "must be a list of objects")
        return [self._part(f"{field} {n}", value) for n, value in enumerate(values, 1)]

    def _part(self, field: str, values: Mapping[str, Any]) -> DataRow:
        return DataRow(values, self.file, self.number, self.unit, f"{self.inside}, {field}" if self.inside else field)


def plain_number(row: DataRow, field: str, value: object) -> str:
    """A number in plain digits; a whole number has no decimal point. Raises DataError, which names the field."""
    number = written_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:  # noqa: PLR0124 - NaN
        raise row.wrong(field, f"is {_shown(value)}, not {'one plain ' if isinstance(value, str) else 'a '}number")
    if not -LARGEST < number < LARGEST:
        raise row.wrong(field, f"is {_shown(value)}; the largest number that is read is {LARGEST:g}")
    return number_text(number)


def rows_digest(rows: Iterable[DataRow]) -> str:
    """Hexadecimal SHA-256 over the content of the rows in order. The file format has no effect."""
    h = hashlib.sha256()
    for row in rows:
        h.update(json.dumps(row.values, sort_keys=True, default=str).encode())
        h.update(b"\n")
    return h.hexdigest()


def unique(rows: Sequence[DataRow], field: str) -> dict[str, DataRow]:
    """The rows by an identifying field. Raises DataError, which names both rows, if two rows have the same value."""
    found: dict[str, DataRow] = {}
    for row in rows:
        key = row.key(field)
        if key in found:
            raise DataError(f"{row.where}: {field} {key!r} is already in {found[key].where}. Remove one of them.")
        found[key] = row
    return found


def _whole(value: object) -> int | None:
    """A whole number, also one that a table with gaps stores as a float (12.0); None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) else int(value) if value.is_integer() else None


def _transposed(lists: Mapping[str, Any]) -> list[Any]:
    """One object per position of the lists; `[None]`, which callers reject, unless all are lists of one length."""
    if not all(isinstance(found, list | tuple) for found in lists.values()) or len({*map(len, lists.values())}) != 1:
        return [None]
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _as_json(value: object) -> str:
    """What to do about a text that looks like a list or an object, for messages; empty for other values."""
    looks = isinstance(value, str) and value.strip()[:1] in ("[", "{")
    return " as JSON or Python writes it; numpy's print of an array is neither: write the cell as JSON" if looks else ""


def _shown(value: object) -> str:
    """The value in at most 60 characters, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
