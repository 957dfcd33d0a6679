"""Reads the files of LaMP: questions with the user's past items, and the outputs that belong to them.

    dev_questions.json  [{"id": "310", "input": "Generate a headline ... article: ...", "profile": [{"id": "3100",
                        "title": "...", "text": "..."}, ...]}, ...]
    dev_outputs.json    {"task": "LaMP_4", "golds": [{"id": "310", "output": "..."}, ...]}

A profile without `user_id` is the user: questions with the same past items are questions of one user.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.data.layout import Part
from mipo_bench.tasks.data.rows import DataRow, unique

NO_PROFILE = "questions without a past item of their user"
EMPTY_PAST = "past items with an empty field"
TWICE = "past items that their user has twice"


@dataclass(frozen=True, slots=True)
class Past:
    """A past item of a user: its fields as texts, and its date as it was written; None without one."""

    values: Mapping[str, str]
    date: str | None
    where: str
    """The place in the file, for messages."""


@dataclass(frozen=True, slots=True)
class LampQuestion:
    """A question of a user with its output and the user's past items, in the order of the file."""

    id: str
    user: str
    text: str
    output: str
    past: tuple[Past, ...]
    row: DataRow


def parts_of(split: str, number: int) -> tuple[Part, Part]:
    """The parts of a split with the questions and with the outputs, under the names that the authors gave them."""
    return _part(split, "questions", number), _part(split, "outputs", number)


def _part(split: str, kind: str, number: int) -> Part:
    file = f"{split}_{kind}.json"
    folders = [f"{owner}LaMP_{number}/{inner}" for owner in ("", "LaMP/") for inner in ("", f"{split}/", "new/")]
    published = (*(f"{folder}{file}" for folder in folders), file, f"{split}/{file}")
    columns = ("id", "input", "profile", "user_id") if kind == "questions" else ("task", "id", "output")
    rows_in = "golds" if kind == "outputs" else ""
    return Part("default", f"{split}_{kind}", columns=columns, published=published, rows_in=rows_in)


def outputs_of(rows: Sequence[DataRow], name: str) -> dict[str, str]:
    """Question id -> output. Raises DataError for the outputs of another task, and for an id that occurs twice."""
    for row in rows[:1]:
        other = row.optional("task")
        if other is not None and other.replace("-", "_").lower() != name:
            raise DataError(f"{row.file} holds the outputs of {other}, not of {name}: give each task its own folder.")
    return {key: str(row.key("output")) for key, row in unique(rows, "id").items()}


def questions_of(
    rows: Sequence[DataRow], outputs: Mapping[str, str], shown: Sequence[str], more: Sequence[str], counts: Counter[str]
) -> Iterator[LampQuestion]:
    """The questions that have a past item. `shown` are the fields of a past item that must be there, `more` others.

    `counts` counts the questions and past items that are left out. Raises DataError for a question without an output,
    and for an output without a question.
    """
    by_id = unique(rows, "id")
    _check_ids(by_id, outputs, rows)
    for key, row in by_id.items():
        past = tuple(_past_items(row, shown, more, counts))
        if not past:
            counts[NO_PROFILE] += 1
            continue
        user = row.key("user_id") if row.given("user_id") else f"user-{_digest(past)}"
        yield LampQuestion(key, user, row.text("input"), outputs[key], past, row)


def _check_ids(questions: Mapping[str, DataRow], outputs: Mapping[str, str], rows: Sequence[DataRow]) -> None:
    """Raise DataError unless questions and outputs have the same ids."""
    for have, lack, what in ((questions, outputs, "outputs"), (outputs, questions, "questions")):
        if missing := [key for key in have if key not in lack]:
            raise DataError(
                f"{rows[0].file}: {len(missing)} of {len(have)} ids are not among the {what}, such as {missing[0]!r}."
                " Are both files of one task, one split and one version?"
            )


def _past_items(row: DataRow, shown: Sequence[str], more: Sequence[str], counts: Counter[str]) -> Iterator[Past]:
    """The past items of a question, each once."""
    seen = set()
    for item in row.mappings("profile") if row.given("profile") else []:
        if any(not item.given(field) for field in shown if field in item.values):
            counts[EMPTY_PAST] += 1
            continue
        values = {field: item.key(field) for field in shown}
        values |= {field: item.optional(field) or "" for field in more}
        date = item.key("date") if item.given("date") else None
        content = (*values.values(), date)
        if content in seen:
            counts[TWICE] += 1
            continue
        seen.add(content)
        yield Past(values, date, item.where)


def _digest(past: Iterable[Past]) -> str:
    content = json.dumps(sorted([*item.values.values(), item.date or ""] for item in past))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
