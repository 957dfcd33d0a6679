"""Lays out the answers that `mipo-bench read-answer` has read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mipo_bench.harness.core.text import on_one_line
from mipo_bench.harness.evaluation.answer_reader import ReadAnswer
from mipo_bench.harness.types import WAYS
from mipo_bench.reports.pages.page import Page, Section, Table

_SHOWN = 60
"""Most characters of a quoted text."""


def one_answer(found: ReadAnswer) -> Iterable[str]:
    """The lines about one text."""
    yield f"{'answer':<10}{_value(found)}"
    if found.reading and found.value is None:
        yield f"{'because':<10}{found.reading.rule} (docs/answers.md)"
    elif found.reading:
        yield f"{'found by':<10}{found.reading.way}: {found.reading.rule} (docs/answers.md)"
    for name, text in found.filtered.items():
        yield f"{'filter':<10}{name}: {_quoted(text)}"
    if found.thoughts:
        cut = " that do not end" if found.answer.thoughts == "cut" else ""
        yield f"{'left out':<10}thoughts{cut}, {len(found.thoughts)} characters: {_quoted(found.thoughts)}"
    if found.reading and found.reading.invented_turn:
        yield f"{'left out':<10}a turn that the model invented, and everything after it"
    if found.right is not None:
        yield f"{'right':<10}{_yes(found.right)}, the target is {_quoted(found.target or '')}"


def answers_page(task: str, answers: Sequence[ReadAnswer]) -> Page:
    """A table of all answers, and one of the ways in which they were found."""
    scored = any(each.right is not None for each in answers)
    columns = ("text", "answer", "found by", "rule", "left out", *(("target", "right") if scored else ()))
    rows = tuple(_row(each, scored=scored) for each in answers)
    tables = [Table("answers (rules: docs/answers.md)", columns, rows), _summary(answers)]
    right = [each.right for each in answers if each.right is not None]
    conclusion = (f"{sum(right)} of {len(right)} answers with a target are right.",) if right else ()
    return Page(
        "mipo-bench read-answer",
        (),
        (Section(f"task {task}, {len(answers)} texts", tuple(tables)),),
        conclusions=conclusion,
    )


def to_json(task: str, answers: Sequence[ReadAnswer]) -> dict[str, Any]:
    """The answers and their counts as one JSON object."""
    return {"task": task, "answers": [_json(each) for each in answers], "counts": dict(_counts(answers))}


def _json(found: ReadAnswer) -> dict[str, Any]:
    reading = found.reading
    return {
        "id": found.name,
        "answer": found.value,
        "way": reading.way if reading else None,
        "rule": reading.rule if reading else None,
        "filters": dict(found.filtered),
        "thoughts": found.answer.thoughts,
        "left_out": found.thoughts,
        "invented_turn": bool(reading and reading.invented_turn),
        "target": found.target,
        "right": found.right,
    }


def _row(found: ReadAnswer, *, scored: bool) -> tuple[str, ...]:
    way, rule = (found.reading.way, found.reading.rule) if found.reading else ("filter", next(iter(found.filtered)))
    parts = ", ".join(name for name in _LEFT_OUT if _counts([found])[name])
    right = (_quoted(found.target or ""), "" if found.right is None else _yes(found.right)) if scored else ()
    return (_quoted(found.name), _value(found), way, rule, parts, *right)


def _summary(answers: Sequence[ReadAnswer]) -> Table:
    counts = _counts(answers)
    names = [name for name in (*WAYS, *_LEFT_OUT) if counts[name]]
    return Table("how they were found", ("found", "texts"), tuple((name, str(counts[name])) for name in names))


_LEFT_OUT = ("thoughts", "thoughts cut", "invented turn")


def _counts(answers: Sequence[ReadAnswer]) -> Counter[str]:
    counts = Counter[str](each.reading.way for each in answers if each.reading)
    counts["thoughts"] = sum(each.answer.thoughts == "closed" for each in answers)
    counts["thoughts cut"] = sum(each.answer.thoughts == "cut" for each in answers)
    counts["invented turn"] = sum(bool(each.reading and each.reading.invented_turn) for each in answers)
    return counts


def _value(found: ReadAnswer) -> str:
    return "none" if found.value is None else _quoted(found.value)


def _quoted(text: str) -> str:
    line = on_one_line(text)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _yes(right: bool) -> str:
    return "yes" if right else "no"
