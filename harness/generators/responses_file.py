"""Read RESPONSES.jsonl, a file of responses that another program produced. It has one JSON object per line.

    {"item_id": "u3-r1", "arm": "profile", "response": "...", "task": "persona", "train_seed": 0, "n_tokens": 41}

`item_id`, `arm` and `response` are required. `task` may be absent if the run has one task. `train_seed` marks the arm
as trained. `n_tokens` is the length of the response in tokens.
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
REQUIRED = ("item_id", "arm", "response")
_LARGEST = 2**63 - 1
_SHOWN = 20
"""The largest number of problems that one message lists."""


@dataclass(frozen=True, slots=True)
class ResponseLine:
    """One response and its line number in the file. Optional fields are None if the line does not have them."""

    number: int
    item: str
    arm: str
    response: str
    task: str | None = None
    train_seed: int | None = None
    n_tokens: int | None = None


def read_responses(file: Path) -> list[ResponseLine]:
    """All responses of the file. Blank lines are skipped, but they count for line numbers.

    Raises ModelError, which lists the first twenty malformed lines, or if the file is empty or cannot be read.
    """
    try:
        with file.open("rb") as opened:
            lines = [_line(line) for line in json_lines(opened)]
    except OSError as error:
        raise ModelError(f"cannot read the responses {file}: {error}") from error
    refuse(file, (problem for problem in lines if isinstance(problem, str)))
    if not lines:
        raise ModelError(f'{file} has no responses. Write one JSON object per line: {{"item_id", "arm", "response"}}.')
    return [line for line in lines if isinstance(line, ResponseLine)]


def refuse(file: Path, problems: Iterable[str]) -> None:
    """Raise ModelError if there are problems. Each problem begins with its line number."""
    found = list(problems)
    if found:
        more = [f"and {len(found) - _SHOWN} more problems in {file}"] if len(found) > _SHOWN else []
        raise ModelError("\n".join([f"{file}, line {problem}" for problem in found[:_SHOWN]] + more))


def _line(line: JsonLine) -> ResponseLine | str:
    """The response in a line, or the problem with the line."""
    number = line.number
    try:
        row = line.value()
    except JsonLineError as error:
        return f"{number}: not valid JSON: {error}."
    if not isinstance(row, dict):
        return f"{number}: expected a JSON object, found a {type(row).__name__}."
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
    """The problems of a line's fields, one sentence each."""
    for name in row:
        if name not in FIELDS:
            yield unknown("field", str(name), FIELDS)
    for name, kind in FIELDS.items():
        value = row.get(name)
        if value is None:
            if name in REQUIRED:
                yield f"field {name!r} is missing."
        elif not isinstance(value, kind) or isinstance(value, bool):
            yield f"{name} = {str(value)[:60]!r} is not a {'text' if kind is str else 'whole number'}."
        elif isinstance(value, int) and not 0 <= value <= _LARGEST:
            yield f"{name} = {value} is not in 0 ... {_LARGEST}."
        elif name in ("item_id", "arm") and storable(str(value)) != value:
            yield f"{name} holds half a character (a lone surrogate)."
        elif name in ("item_id", "arm") and not str(value).strip():
            yield f"{name} is empty."
