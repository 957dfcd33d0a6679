"""Reads the rows of a JSONL file and checks their fields; errors name file and line. `read` builds on it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mipo_bench.harness.core.jsonl import JsonLine, JsonLineError, json_lines
from mipo_bench.harness.core.text import id_text, on_one_line
from mipo_bench.harness.errors import UserError

LARGEST = 1e50
"""Scores beyond this are refused: the fourth powers in the statistics need not be finite."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a JSONL file; `line` counts from 1."""

    path: Path
    line: int
    fields: dict[str, Any]

    def fail(self, message: str) -> NoReturn:
        """Raise UserError at this line."""
        raise UserError(f"{self.path}:{self.line}: {message}.")

    def has(self, field: str) -> bool:
        """Whether the row has the field and it is not null."""
        return self.fields.get(field) is not None

    def text(self, field: str) -> str:
        """The field as text: a string or a whole number. Raises UserError for any other value."""
        value = self.fields.get(field)
        try:
            text = id_text(value)
        except ValueError:  # more digits than Python writes
            text = None
        if text is None:
            self.fail(f"{field} is {show(value)}; a string or an integer is needed")
        return text

    def integer(self, field: str) -> int:
        """The field as a whole number of at most 64 bits; 3.0 is one. Raises UserError for any other value."""
        value = self.fields.get(field)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if value is None or isinstance(value, bool) or not whole or abs(value) >= 2**63:
            self.fail(f"{field} is {show(value)}; an integer is needed")
        return int(value)

    def score(self, field: str, *, allow_missing: bool) -> float:
        """The field as a finite number, or NaN for a missing score if `allow_missing`; true is 1 and false 0.

        Raises UserError for any other value, and for a number beyond `LARGEST`.
        """
        if field not in self.fields:
            self.fail(f"the field {field} is missing; the fields are {', '.join(sorted(self.fields))}")
        value = self.fields[field]
        if isinstance(value, str):
            self.fail(f"{field} is the text {show(value)}; a finite number is needed, without quotes")
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


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file, one at a time; blank lines are skipped.

    Raises UserError for a file that cannot be read and for a line that is not a JSON object.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, and a file is needed. {_inside(path)}")
    try:
        with path.open("rb") as stream:
            for line in json_lines(stream):
                yield Row(path, line.number, _parse(path, line))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _inside(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"It has {', '.join(map(on_one_line, names[:5]))}{more}." if names else "It has no files."


def _parse(path: Path, line: JsonLine) -> dict[str, Any]:
    try:
        fields = line.value()
    except JsonLineError as error:
        csv = (
            ' With pandas: pd.read_csv(FILE).to_json(NEW, orient="records", lines=True).'
            if path.suffix == ".csv"
            else ""
        )
        raise UserError(f"{path}:{line.number}: not JSON ({error}). Write one JSON object per line.{csv}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{path}:{line.number}: {show(fields)} is not a JSON object. Write one per line.")
    return fields


def show(value: object) -> str:
    """The value as JSON, cut to 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
