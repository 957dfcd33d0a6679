"""Texts of changed items for the sample browser of a diff: the prompt, and the responses of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mipo_bench.harness.history.rescore import ArmTexts
from mipo_bench.harness.types import Response
from mipo_bench.reports.diff.records import ReportDiff
from mipo_bench.reports.diff.to_html import samples
from mipo_bench.reports.html.blocks import Block, text_blocks


def diff_texts(diff: ReportDiff, texts: ArmTexts, most: int) -> Iterable[Block]:
    """Blocks with the texts of at most `most` regressed and as many improved items of each arm."""
    for number, task in enumerate(diff.tasks):
        arms = [arm for arm in diff.tested if arm.task == task.name]
        chosen = {change.item for arm in arms for change in (*arm.regressed[:most], *arm.improved[:most])}
        shown = samples(diff, task.name)
        found = [
            texts.sides[side].responses(n, sorted(chosen))
            for side, own in (("A", shown.a), ("B", shown.b))
            for n, _ in own
        ]
        prompts = texts.prompts(task.name)
        entries = [_entry(item, found, prompts.get(item)) if item in chosen else None for item in shown.items]
        yield from text_blocks(number, entries)


def _entry(item: str, found: Iterable[Mapping[str, Response]], prompt: str | None) -> Mapping[str, Any] | None:
    """The texts of an item, in the order of the arms; None if the store has no response to it."""
    own = [responses.get(item) for responses in found]
    texts = list(dict.fromkeys(response.text for response in own if response))
    arms = [{"text": texts.index(r.text), "finish": r.finish} if r else None for r in own]
    return {"prompt": prompt, "texts": texts, "arms": arms} if texts else None
