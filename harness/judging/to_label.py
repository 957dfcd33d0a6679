"""Writes the comparisons without a verdict as lines of JSON that people can label.

A run whose judge is a file of verdicts publishes them beside the report; the labelled file can then be the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.protocols import Question

_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Characters that JSON may hold as they are, but at which programs that label the file may break its lines."""
TO_JUDGE = "to-judge.jsonl"
"""Name of the file beside the report with the comparisons that a file of verdicts lacks."""


def unjudged(questions: Iterable[Question]) -> str:
    """The questions as JSONL to be labelled: each pair of responses once, in random order, with a null verdict."""
    lines: dict[tuple[str, ...], dict[str, object]] = {}
    for q in questions:
        texts = (q.first,) if q.second is None else (q.first, q.second)
        place = (q.item.prompt, q.item.context or "", *sorted(texts))
        if place in lines:
            continue
        shown = sorted(texts, reverse=seed_of("to-judge", *place) % 2 == 0)
        row: dict[str, object] = {"prompt": q.item.prompt, "context": q.item.context, "rubric": q.rubric}
        row |= dict(zip("ab", shown, strict=False))
        lines[place] = row | ({"rating": None} if q.second is None else {"label": None})
    return "".join(json.dumps(line, ensure_ascii=False).translate(_LINE_ENDS) + "\n" for line in lines.values())
