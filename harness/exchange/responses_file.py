"""Read RESPONSES.jsonl, a file of responses that another program produced. It has one JSON object per line.

    {"item_id": "u3-r1", "arm": "profile", "response": "...", "task": "persona", "finish": "stop", "n_tokens": 41}

`item_id`, `arm` and `response` are required. `task` may be absent if the run has one task. `train_seed` marks the arm
as trained. `finish` is the finish reason, `n_tokens` the length of the response in tokens, `option_logprobs` the summed
log-probability in nats of each option of a multiple-choice item.

Two other formats are read: lm-eval's sample logs (`doc_id`, `resps`) and outputs as AlpacaEval has them
(`instruction`, `output`). Their rows name a document instead of an item.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeGuard

from mipo_bench.harness.core.jsonl import JsonLine, JsonLineError, json_lines
from mipo_bench.harness.core.text import id_text, on_one_line, storable
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.exchange.foreign_rows import Document, document_row

Finish = Literal["stop", "length", "overflow", "unknown"]
REQUIRED = ("item_id", "arm", "response")
_TEXTS = ("item_id", "arm", "response", "task")
_NUMBERS = ("train_seed", "n_tokens")
FIELDS = (*_TEXTS, *_NUMBERS, "finish", "option_logprobs")
PROMPT_FIELDS = frozenset(("messages", "prompt", "options", "decoding", "seed", "sample_seed"))
"""Further fields of `export-prompts`, which are ignored without a note."""
STORE_FIELDS = frozenset(
    (
        *("run", "created", "model", "baseline", "recipe", "sample_seed", "noise"),
        *("user_id", "score", "n_prompt", "key"),
    )
)
"""Further fields of `store export`, which are ignored without a note in a row that has all of them."""
FINISH: Mapping[str, Finish] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_id", "end_turn", "end_of_turn", "complete", "completed"), "stop"),
    **dict.fromkeys(("stop_sequence", "stop_token", "stop_word", "stop_str", "word"), "stop"),
    **dict.fromkeys(("length", "limit", "max_tokens", "max_new_tokens", "max_output_tokens", "max_length"), "length"),
    **dict.fromkeys(("token_limit", "model_length", "model_context_window_exceeded"), "length"),
    "overflow": "overflow",
    "unknown": "unknown",
}
"""Finish reasons, as engines and servers name them (small letters, `_` for `-`), and their meaning here."""
_LARGEST = 2**63 - 1
_SHOWN = 20
"""The largest number of problems, or of names, that one message lists."""
_NEAR = 0.8
"""From this similarity (difflib) on, an unknown field is taken for a misspelt one."""


@dataclass(frozen=True, slots=True)
class ResponseLine:
    """One response and its line number in the file. Optional fields are None if the line does not have them.

    A row of another format has a `document` in place of an item, and no arm unless it has the field.
    """

    number: int
    item: str
    arm: str
    response: str
    task: str | None = None
    train_seed: int | None = None
    n_tokens: int | None = None
    finish: Finish = "unknown"
    option_logprobs: tuple[float, ...] | None = None
    document: Document | None = None


@dataclass(slots=True)
class ResponseRows:
    """The responses of a file as they are read, its problems, and what its notes count."""

    lines: list[ResponseLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    """Finish reasons of no known meaning."""

    def notes(self, file: Path) -> Iterator[str]:
        """The notes for the report: fields that were ignored, and finish reasons that were not understood."""
        if self.ignored:
            yield f"fields of {file.name} that are not used: {_names(self.ignored)}"
        if self.finishes:
            yield f"finish reasons of {file.name} that are read as not known: {_names(self.finishes)}"


def _names(counts: Counter[str]) -> str:
    names = [on_one_line(name)[:40] for name in sorted(counts)]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def read_responses(file: Path) -> ResponseRows:
    """All responses of the file. Blank lines are skipped, but they count for line numbers.

    Raises ModelError, which lists the first twenty malformed lines, or if the file is empty or cannot be read.
    """
    rows = ResponseRows()
    try:
        with file.open("rb") as opened:
            for line in json_lines(opened):
                _add(rows, line)
    except IsADirectoryError as error:
        inside = sorted(path.name for path in file.iterdir() if path.is_file())[:_SHOWN]
        has = f"It has {', '.join(map(on_one_line, inside))}." if inside else "It has no files."
        raise ModelError(f"{file} is a folder, and a file of responses is needed. {has}") from error
    except OSError as error:
        raise ModelError(f"cannot read the responses {file}: {error}") from error
    refuse(file, rows.problems)
    if not rows.lines:
        raise ModelError(f'{file} has no responses. Write one JSON object per line: {{"item_id", "arm", "response"}}.')
    rows.lines = _without_filters(rows.lines)
    return rows


def refuse(file: Path, problems: Iterable[str]) -> None:
    """Raise ModelError if there are problems. Each problem begins with its line number."""
    found = list(problems)
    if found:
        more = [f"and {len(found) - _SHOWN} more problems in {file}"] if len(found) > _SHOWN else []
        raise ModelError("\n".join([f"{file}, line {problem}" for problem in found[:_SHOWN]] + more))


def _add(rows: ResponseRows, line: JsonLine) -> None:
    """Add the response of a line, or its problem."""
    try:
        value = line.value()
    except JsonLineError as error:
        rows.problems.append(f"{line.number}: not valid JSON: {error}.")
        return
    if not isinstance(value, dict):
        rows.problems.append(f"{line.number}: expected a JSON object, found {_kind(value)}.")
        return
    row: Mapping[str, Any] = {name: None if _is_nan(part) else part for name, part in value.items()}
    foreign = None if {"item_id", "response"} & row.keys() else document_row(row)
    row = {**row, **foreign.fields} if foreign else row
    problems = [foreign.problem] if foreign and foreign.problem else list(_problems(row, value, foreign is not None))
    if problems:
        rows.problems.append(f"{line.number}: {' '.join(problems)}")
        return
    known = {*FIELDS, *PROMPT_FIELDS, *(foreign.known if foreign else ()), *_stored(row)}
    rows.ignored.update(name for name in row if name not in known)
    finish = _finish(row.get("finish"))
    rows.finishes.update([str(row["finish"])] if finish is None else [])
    rows.lines.append(_response(line.number, row, finish or "unknown", foreign.document if foreign else None))


def _stored(row: Mapping[str, Any]) -> frozenset[str]:
    """The further fields of `store export` if the row is one of its rows, else none."""
    return STORE_FIELDS if row.keys() >= STORE_FIELDS else frozenset()


def _response(number: int, row: Mapping[str, Any], finish: Finish, document: Document | None) -> ResponseLine:
    """The response of a row without problems."""
    logprobs = row.get("option_logprobs")
    return ResponseLine(
        number,
        id_text(row.get("item_id")) or "",
        row.get("arm") or "",
        row["response"],
        row.get("task"),
        _whole(row.get("train_seed")),
        _whole(row.get("n_tokens")),
        finish,
        None if logprobs is None else tuple(map(float, logprobs)),
        document,
    )


def _whole(value: int | float | None) -> int | None:
    """The whole number, which pandas may write as 3.0."""
    return None if value is None else int(value)


def _finish(value: object) -> Finish | None:
    """The finish reason; `unknown` if none is given, None for one that this program does not know."""
    if value is None:
        return "unknown"
    return FINISH.get(str(value).strip().lower().replace("-", "_"))


def _without_filters(lines: Sequence[ResponseLine]) -> list[ResponseLine]:
    """The lines without repetitions of a response under another filter: lm-eval logs a row for each filter."""
    first: dict[tuple[object, ...], ResponseLine] = {}
    kept = []
    for line in lines:
        if line.document is not None:
            earlier = first.setdefault((line.task, line.arm, line.train_seed, line.document.ids), line)
            same = earlier.document is not None and earlier.response == line.response
            if same and earlier.document and earlier.document.filter != line.document.filter:
                continue
        kept.append(line)
    return kept


def _problems(row: Mapping[str, Any], written: Mapping[str, Any], is_foreign: bool) -> Iterator[str]:
    """The problems of a row's fields, one sentence each. `written` is the row with its NaN."""
    if not is_foreign:
        yield from _misspelt(row)
    for name in FIELDS:
        value = row.get(name)
        if value is not None:
            yield from _wrong(name, value)
        elif name in REQUIRED and not (is_foreign and name != "response"):
            yield _missing(name, row, written)


def _misspelt(row: Mapping[str, Any]) -> Iterator[str]:
    absent = tuple(name for name in FIELDS if name not in row)
    for name in row:
        if name not in FIELDS and name not in PROMPT_FIELDS | STORE_FIELDS and (near := _near(name, absent)):
            yield f"unknown field {on_one_line(name)!r}. Did you mean {near!r}?"


@cache
def _near(name: str, absent: tuple[str, ...]) -> str:
    """The absent field that a name resembles; empty if there is none."""
    return next(iter(difflib.get_close_matches(name, absent, n=1, cutoff=_NEAR)), "")


def _missing(name: str, row: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    if name not in row:
        prompt = " The line has a prompt: add the answer of your program." if "messages" in row else ""
        return f"field {name!r} is missing.{prompt if name == 'response' else ''}"
    found = "NaN, as pandas writes a missing value" if _is_nan(written.get(name)) else "null"
    if name != "response":
        return f"{name} is {found}."
    return (
        f"response is {found}: leave the line out if there is no answer, and the item counts as failed;"
        ' write "" if the answer is empty.'
    )


def _wrong(name: str, value: object) -> Iterator[str]:
    """The problem of a value that is not null, if it has one."""
    if name == "option_logprobs":
        if not isinstance(value, list) or not all(_is_number(v) and abs(v) <= sys.float_info.max for v in value):
            yield "option_logprobs is not a list of finite numbers."
    elif name == "finish":
        if not isinstance(value, str):
            yield f"finish is {_kind(value)}, not a text such as 'stop' or 'length'."
    elif name in _NUMBERS:
        if not _is_number(value) or (isinstance(value, float) and not value.is_integer()):
            yield f"{name} = {_shown(value)} is not a whole number."
        elif not 0 <= value <= _LARGEST:
            yield f"{name} = {value} is not in 0 ... {_LARGEST}."
    else:
        yield from _wrong_text(name, value)


def _wrong_text(name: str, value: object) -> Iterator[str]:
    text = id_text(value) if name == "item_id" else value
    if not isinstance(text, str):
        several = " Give each sample an arm of its own, or choose one." if isinstance(value, list) else ""
        yield f"{name} is {_kind(value)}, not a text: {_shown(value)}.{several if name == 'response' else ''}"
    elif name in ("item_id", "arm") and storable(text) != text:
        yield f"{name} holds half a character (a lone surrogate)."
    elif name in ("item_id", "arm") and not text.strip():
        yield f"{name} is empty."


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    """The JSON type of a value, with its article."""
    if isinstance(value, bool):
        return "a truth value"
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _shown(value: object) -> str:
    return repr(str(value)[:60])
