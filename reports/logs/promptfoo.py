"""promptfoo's results: `promptfoo eval -o FILE.json` (version 3) or `-o FILE.jsonl`.

{"evalId": .., "results": {"version": 3, "results": [{"promptIdx": 0, "testIdx": 0, "vars": {..}, "score": 1, ...}]}}

The item is the test's variables and description; `--repeat` makes samples of it. Each pair of provider and prompt is an
arm.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, mapping, short_id, show, unknown_name
from mipo_bench.reports.logs.source import Source
from mipo_bench.reports.statistics.records import Caveat

NAME = "promptfoo"
CHOICES = ("metric", "user")
_FIRST = ("score", "success")
_ERROR = 2
"""The failure reason of an output that never came; 1 is an assertion that failed."""
_ACROSS = ("select-best", "max-score")


@dataclass
class _Arm:
    columns: Columns
    provider: str
    prompt: str
    seen: Counter[str] = field(default_factory=Counter)
    cached: int = 0


def is_document(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is an export of promptfoo."""
    results = document.get("results")
    return isinstance(results, Mapping) and "version" in results and ("evalId" in document or "table" in results)


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a row of an export as JSON Lines."""
    return "promptIdx" in row and "testIdx" in row and "vars" in row


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """One arm for each pair of provider and prompt; `--metric` is score (0 to 1), success or a named score.

    Raises UserError for an export of another version, and assertions that compare outputs with one another. An output
    with an error has no score.
    """
    arms: dict[int, _Arm] = {}
    metric = choice.metric or _FIRST[0]
    for row in _rows(source):
        _refuse_ranking(row)
        number = row.integer("promptIdx")
        arm = arms.setdefault(
            number, _Arm(Columns(source.path, row.unit), _label(row, "provider"), _label(row, "prompt"))
        )
        _add(arm, row, metric, choice)
    names = _names(list(arms.values()))
    return [_finish(arm, name, metric) for name, arm in zip(names, arms.values(), strict=True)]


def metrics(source: Source, choice: Choice) -> list[Choice]:
    """Score, success and every named score."""
    named = dict.fromkeys(name for row in _rows(source) for name in mapping(row.fields.get("namedScores")))
    return [replace(choice, metric=name) for name in (*_FIRST, *named)]


def _rows(source: Source) -> Iterator[Row]:
    if not is_document(source.first):
        yield from source.rows()
        return
    results = source.first["results"]
    version, rows = results.get("version"), results.get("results")
    if version != 3 or not isinstance(rows, list):
        raise UserError(f"{source.path}: results of promptfoo with version {show(version)}; 3 can be read.")
    if not rows:
        raise UserError(f"{source.path}: the file holds no results; at least one is needed.")
    for place, fields in enumerate(rows, 1):
        yield Row(source.path, place, mapping(fields), "result")


def _label(row: Row, name: str) -> str:
    entry = row.fields.get(name)
    if not isinstance(entry, Mapping):
        return str(entry or "")
    return str(entry.get("label") or entry.get("id") or "")


def _names(arms: list[_Arm]) -> list[str]:
    """The parts of the names that differ: of the provider, of the prompt, or of both."""
    providers, prompts = ({getattr(arm, part) for arm in arms} for part in ("provider", "prompt"))
    if len(prompts) == 1:
        names = [arm.provider for arm in arms]
    elif len(providers) == 1:
        names = [arm.prompt for arm in arms]
    else:
        names = [f"{arm.provider} / {arm.prompt}" for arm in arms]
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} #{place}" for place, name in enumerate(names, 1)]


def _assertions(row: Row) -> list[Any]:
    found = row.get("testCase.assert")
    return found if isinstance(found, list) else []


def _refuse_ranking(row: Row) -> None:
    kinds = {str(entry.get("type")) for entry in _assertions(row) if isinstance(entry, Mapping)}
    for kind in _ACROSS:
        if kind in kinds:
            row.fail(f"the assertion {kind} compares outputs with one another: such scores are not independent of them")


def _add(arm: _Arm, row: Row, metric: str, choice: Choice) -> None:
    variables, description = row.fields.get("vars"), str(row.get("testCase.description") or "")
    item = short_id(description + json.dumps(variables, sort_keys=True))
    user = choice.columns.get("user")
    arm.columns.user_name = user or arm.columns.user_name
    sample = arm.seen[item]
    arm.seen[item] += 1
    arm.cached += bool(sample and row.get("response.cached"))
    arm.columns.add(
        item,
        _score(row, metric, choice),
        row.place,
        user=row.text(user) if user else None,
        sample=sample,
        input_=digest([json.dumps(_assertions(row), sort_keys=True)]),
    )


def _score(row: Row, metric: str, choice: Choice) -> float:
    if row.fields.get("failureReason") == _ERROR:
        return math.nan
    named = mapping(row.fields.get("namedScores"))
    if metric not in _FIRST and metric not in named:
        row.fail(unknown_name("metric", metric, (*_FIRST, *named)).rstrip("."))
    value = row.fields.get(metric) if metric in _FIRST else named[metric]
    return row.number(metric, value, allow_missing=choice.allow_missing)


def _finish(arm: _Arm, name: str, metric: str) -> ScoreFile:
    cached = f"repeated outputs from promptfoo's cache, equal to the first: {arm.cached}; run with --no-cache"
    header = Header(
        name,
        metric,
        notes=(Caveat("cached_repeats", cached),) if arm.cached else (),
        unit=arm.columns.unit,
        item_name="test",
        user_name=arm.columns.user_name,
        input_name="assertions",
    )
    return arm.columns.finish(header, twice="sample")
