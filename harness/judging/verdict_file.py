"""Reads files of verdicts: for `FileJudge`, a judge that looks verdicts up, and for the labels of `validation`."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.jsonl import JsonLineError, json_lines
from mipo_bench.harness.core.text import storable
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.protocols import Question, Verdict


@dataclass(frozen=True)
class FileJudge:
    """Looks up verdicts of people, or of an earlier judge, by request, profile and responses.

    The file has one line of JSON for each: {"prompt", "context", "a", "b", "label": "a" | "b" | "tie"} for a comparison
    in either order, or {"prompt", "context", "a", "rating": 1 to 5}. A question that is not in the file, or whose label
    or rating is null, has no verdict.
    """

    name: str
    digest: str
    verdicts: Mapping[tuple[str, ...], float]

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`."""
        for position, q in enumerate(questions):
            found = self.verdicts.get(_place(q.item.prompt, q.item.context, q.first, q.second))
            yield position, Verdict(found, "" if found is not None else "not in the file")


LABELS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled comparison: `value` is 1 if `a` is better, 0 if `b` is, 1/2 for a tie."""

    prompt: str
    context: str | None
    a: str
    b: str
    value: float


def file_judge(path: Path) -> FileJudge:
    """Read a file of verdicts. Raises ConfigError for a bad line and for a line that contradicts another."""
    verdicts: dict[tuple[str, ...], float] = {}
    for number, row in read_rows(path):
        name = _given(row)
        if name is None:
            continue
        if name == "rating":
            found = {_place(row["prompt"], row.get("context"), row["a"], None): (_rating(path, number, row) - 1) / 4}
        else:
            label = labelled(path, number, row)
            found = {_place(label.prompt, label.context, label.a, label.b): label.value}
            found[_place(label.prompt, label.context, label.b, label.a)] = 1 - label.value
        for place, value in found.items():
            if verdicts.setdefault(place, value) != value:
                raise ConfigError(f"{path}, line {number}: another line gives another verdict on the same responses.")
    content = digest(part for place in sorted(verdicts) for part in (*place, verdicts[place]))
    return FileJudge(path.name, digest(["judge-file", content]), verdicts)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers; NaN, pandas' missing value, is null. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise ConfigError(f"the file of verdicts {path} is a folder: name the file in it.") from error
    except OSError as error:
        raise ConfigError(f"cannot read the file of verdicts {path}: {error}") from error
    for line in json_lines(io.BytesIO(data)):
        number = line.number
        try:
            value = line.value()
        except JsonLineError as error:
            raise ConfigError(f"{path}, line {number} is not JSON: {error}") from error
        row = _without_nan(value) if isinstance(value, dict) else {}
        texts = ("prompt", "a", "b") if _given(row) == "label" else ("prompt", "a")
        if not all(isinstance(row.get(name), str) for name in texts) or not isinstance(row.get("context") or "", str):
            raise ConfigError(
                f'{path}, line {number}: a line must be an object with the texts "prompt", "context" (optional), '
                '"a", "b" and "label", or "prompt", "context", "a" and "rating".'
            )
        if row.get("label") is not None and row.get("rating") is not None:
            raise ConfigError(f"{path}, line {number}: it has a label and a rating; keep the one that is meant.")
        yield number, row


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in row.items()}


def _given(row: Mapping[str, Any]) -> Literal["label", "rating"] | None:
    """The field of the row that holds its verdict; None while label and rating are null or empty."""
    given = [name for name in ("label", "rating") if row.get(name) not in (None, "")]
    return None if not given and ("label" in row or "rating" in row) else "rating" if given == ["rating"] else "label"


def labelled(path: Path, number: int, row: Mapping[str, Any]) -> Labelled:
    """The comparison in a row. Raises ConfigError for an unknown label."""
    label = row.get("label")
    if not isinstance(label, str) or label.strip().lower() not in LABELS:
        unclear = "" if not isinstance(label, int | float) else " (a number could be a place or a score)"
        raise ConfigError(f"{path}, line {number}: label is {label!r}; allowed are a, b and tie{unclear}.")
    return Labelled(row["prompt"], row.get("context"), row["a"], row["b"], LABELS[label.strip().lower()])


def _rating(path: Path, number: int, row: Mapping[str, Any]) -> int:
    rating = row["rating"]
    if isinstance(rating, str) and rating.strip().isdecimal():
        rating = int(rating)
    if isinstance(rating, bool) or rating not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{path}, line {number}: rating is {rating!r}; allowed are whole numbers from 1 to 5.")
    return int(rating)


def _place(prompt: str, context: str | None, first: str, second: str | None) -> tuple[str, ...]:
    texts = (prompt, context or "", first, *(() if second is None else (second,)))
    return tuple(storable(text.strip()) for text in texts)
