"""Finds the items that the documents of another program's responses ask: by id, or by the text of the question."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from mipo_bench.harness.exchange.foreign_rows import Document
from mipo_bench.harness.exchange.responses_file import ResponseLine, refuse
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.types import Item

_SHOWN = 3
"""The largest number of items that one message names."""


def with_items(file: Path, lines: Sequence[ResponseLine], tasks: Sequence[TaskPlan]) -> list[ResponseLine]:
    """The lines with the items that their documents ask, and with the task's reference as the arm that they lack.

    Lines without a document stay as they are. Where items are equal but for their ids, each response of an arm to their
    question takes the next of them: it counts the same for each. Raises ModelError for documents that ask no item, or
    several that differ.
    """
    plans = {planned.task.name: planned for planned in tasks}
    by_task = {name: TaskItems(planned.task.items("eval")) for name, planned in plans.items()}
    problems: list[str] = []
    placed = []
    twins = Counter[tuple[str, str, int | None, str]]()
    for line in lines:
        if line.document is None:
            placed.append(line)
            continue
        task = str(line.task)
        found = by_task[task].asked_by(line.document)
        if len(found) > 1 and len({replace(item, id="") for item in found}) == 1:
            key = (task, line.arm, line.train_seed, found[0].id)
            found = found[twins[key] :][:1] or found
            twins[key] += 1
        if len(found) == 1:
            placed.append(replace(line, item=found[0].id, arm=line.arm or plans[task].reference))
        else:
            problems.append(f"{line.number}: {_unplaced(line.document, task, found)}")
    refuse(file, problems)
    return placed


def _unplaced(document: Document, task: str, found: Sequence[Item]) -> str:
    if found:
        some = ", ".join(item.id for item in found[:_SHOWN])
        return f"{document.name} fits {len(found)} items of task {task!r}: {some}. Give each row its item_id."
    without = "" if document.texts else " The row has no question to look for."
    return (
        f"{document.name} fits no item of task {task!r}, neither by its id nor by its question.{without}"
        " Choose the task with --task, or give each row its item_id."
    )


@dataclass(frozen=True)
class TaskItems:
    """The evaluation items of a task, to be found by id and by the beginning of their prompts."""

    items: Sequence[Item]

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}

    @cached_property
    def _by_prompt(self) -> list[tuple[str, Item]]:
        return sorted(((item.prompt.strip(), item) for item in self.items), key=lambda pair: pair[0])

    def asked_by(self, document: Document) -> list[Item]:
        """The items that the document may ask: one if it is clear.

        An item with an id of the document counts if its prompt holds a text of the document, where it has texts. If
        there is none, the items count whose prompts begin with a text of the document; among several of them, those
        whose prompts hold most of its texts. Single words are no evidence, except as a whole prompt.
        """
        named = [self._by_id[name] for name in document.ids if name in self._by_id]
        several_words = [text for text in document.texts if " " in text] or document.texts
        sure = [item for item in named if not several_words or any(text in item.prompt for text in several_words)]
        found = {item.id: item for item in sure or (i for text in document.texts for i in self._beginning_with(text))}
        most = max((_shared(document, item) for item in found.values()), default=0)
        return [item for item in found.values() if _shared(document, item) == most]

    def _beginning_with(self, text: str) -> Iterator[Item]:
        start = bisect_left(self._by_prompt, text, key=lambda pair: pair[0])
        for prompt, item in islice(self._by_prompt, start, None):
            if not prompt.startswith(text):
                return
            if prompt == text or (prompt[len(text)] == "\n" and " " in text):
                yield item


def _shared(document: Document, item: Item) -> int:
    """The number of texts of the document that the item's prompt holds."""
    return sum(text in item.prompt for text in document.texts)
