"""RESPONSES.jsonl: answers produced elsewhere, one JSON object a line.

    {"item_id": "u3-r1", "arm": "profile", "response": "...", "task": "persona", "train_seed": 0, "n_tokens": 41}

`task` may be left out where the run has one task, `train_seed` marks the arm as trained, `n_tokens` is the length of
the response; the other three are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.jsonl import JsonLine, JsonLineError, json_lines
from mipo_bench.harness.core.text import storable
from mipo_bench.harness.errors import ModelError, unknown

FIELDS: Mapping[str, type] = {
    "item_id": str,
    "arm": str,
    "response": str,
    "task": str,
    "train_seed": int,
    "n_tokens": int,
}
NEEDED = ("item_id", "arm", "response")
_LARGEST = 2**63 - 1
_SHOWN = 20
"""Problems that one message lists."""


@dataclass(frozen=True, slots=True)
class ResponseLine:
    """One answer, and the line of the file that it stands in. `task` is None where the file does not say it."""

    number: int
    item: str
    arm: str
    response: str
    task: str | None = None
    train_seed: int | None = None
    n_tokens: int | None = None


def read_responses(file: Path) -> list[ResponseLine]:
    """All lines of the file; blank ones count but hold nothing.

    Raises ModelError with every malformed line (the first twenty), or where the file cannot be read or is empty.
    """
    try:
        with file.open("rb") as opened:
            lines = [_line(line) for line in json_lines(opened)]
    except OSError as error:
        raise ModelError(f"cannot read the responses {file}: {error}") from error
    refuse(file, (problem for problem in lines if isinstance(problem, str)))
    if not lines:
        raise ModelError(f'{file} holds no responses. Write one JSON object a line: {{"item_id", "arm", "response"}}.')
    return [line for line in lines if isinstance(line, ResponseLine)]


def refuse(file: Path, problems: Iterable[str]) -> None:
    """Raise ModelError where there are problems, each beginning with its line number."""
    found = list(problems)
    if found:
        more = [f"and {len(found) - _SHOWN} more problems in {file}"] if len(found) > _SHOWN else []
        raise ModelError("\n".join([f"{file}, line {problem}" for problem in found[:_SHOWN]] + more))


def _line(line: JsonLine) -> ResponseLine | str:
    """The answer in a line, or what is wrong with it."""
    number = line.number
    try:
        row = line.value()
    except JsonLineError as error:
        return f"{number}: no JSON: {error}."
    if not isinstance(row, dict):
        return f"{number}: a {type(row).__name__} where an object belongs."
    problems = list(_problems(row))
    if problems:
        return f"{number}: {' '.join(problems)}"
    return ResponseLine(
        number,
        row["item_id"],
        row["arm"],
        row["response"],
        row.get("task"),
        row.get("train_seed"),
        row.get("n_tokens"),
    )


def _problems(row: Mapping[str, Any]) -> Iterator[str]:
    for name in row:
        if name not in FIELDS:
            yield unknown("field", str(name), FIELDS)
    for name, kind in FIELDS.items():
        value = row.get(name)
        if value is None:
            if name in NEEDED:
                yield f"field {name!r} is missing."
        elif not isinstance(value, kind) or isinstance(value, bool):
            yield f"{name} = {str(value)[:60]!r} is no {'text' if kind is str else 'whole number'}."
        elif isinstance(value, int) and not 0 <= value <= _LARGEST:
            yield f"{name} = {value} is not in 0 ... {_LARGEST}."
        elif name in ("item_id", "arm") and storable(str(value)) != value:
            yield f"{name} holds half a character (a lone surrogate)."
        elif name in ("item_id", "arm") and not str(value).strip():
            yield f"{name} is empty."
