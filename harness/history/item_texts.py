"""Texts for the sample browser of the HTML report: prompts of the installed tasks, responses of the run store.

A prompt is taken only where its hash and that of its target are those of the report. What is missing is told in notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from mipo_bench.harness.errors import DataError, first_line
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.evaluation.scoring import describe_task, score_answer
from mipo_bench.harness.history.find_report import ReportSearch
from mipo_bench.harness.history.rescore import StoredResponses, installed_task, thought_tags
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, JudgedTask, Response, Score, Task
from mipo_bench.reports.html.blocks import Block, text_blocks
from mipo_bench.reports.html.items import Which, chosen_items
from mipo_bench.reports.html.report import Texts
from mipo_bench.reports.numbers import plural
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.records.report_file import run_id
from mipo_bench.tasks.reading.thoughts import Answer, without_thoughts


def item_texts(report: Report, search: ReportSearch, which: Which) -> Texts:
    """The texts of the chosen items of a report, in blocks."""
    stored = StoredResponses(report, search)
    notes = [] if stored.known else [_unknown_run(report)]
    plugins = load_plugins(search.include)
    blocks: list[Block] = []
    count = 0
    for number, record in enumerate(report.tasks):
        chosen = chosen_items(report, record, which)
        task = installed_task(record.name, plugins, search.data)
        items, note = _unchanged(record, task)
        notes += [note] if note else []
        count += len(chosen)
        texts = _Texts(report, record, task, items, stored)
        blocks += text_blocks(number, texts.of(chosen, search))
        notes += texts.notes()
    return Texts(blocks, _holds(report, count, which, responses=stored.known), notes)


def _holds(report: Report, count: int, which: Which, *, responses: bool) -> str:
    """The line at the top of the page about the texts in the file, and the licences of their data."""
    chosen = {"all": "all", "changed": "those with a changed score", "failed": "those without a usable answer"}[which]
    profiles = " and user profiles" if any(task.users for task in report.tasks) else ""
    answers = "their responses" if responses else "no responses"
    licences = "; ".join(f"{t.name}: {t.data['licence']}" for t in report.tasks if t.data and "licence" in t.data)
    licence = f" Licences of the data: {licences}." if licences else ""
    return f"This file holds the prompts{profiles} of {plural(count, 'item')} ({chosen}), and {answers}.{licence}"


def _unknown_run(report: Report) -> str:
    return (
        f"the run store has no run {run_id(report)}: its responses are left out. If it was made elsewhere, name its "
        "store with --store."
    )


def _unchanged(record: TaskRecord, task: Task | None) -> tuple[dict[str, Item], str]:
    """Item id -> item as it was when the report was made; and a note on those that are not."""
    if task is None:
        return {}, f"task {record.name} is not installed: its prompts are left out (--include FILE)."
    try:
        by_id = {item.id: item for item in task.items("eval")}
    except DataError as error:
        return {}, f"the prompts of {record.name} are left out: {first_line(error)}"
    known = [by_id[name] for name in record.items if name in by_id]
    now = describe_task(task, record.reference, known)
    then = dict(zip(record.items, zip(record.prompt_hashes, record.target_hashes, strict=True), strict=True))
    hashes = zip(now.prompt_hashes, now.target_hashes, strict=True)
    same = {item.id: item for item, found in zip(known, hashes, strict=True) if then[item.id] == found}
    changed = len(record.items) - len(same)
    lost = f"{plural(changed, 'prompt')} of {record.name} left out: changed since the report was made."
    return same, lost if changed else ""


class _Texts:
    """The texts of one task, read from the store by blocks of items."""

    def __init__(
        self, report: Report, record: TaskRecord, task: Task | None, items: Mapping[str, Item], stored: StoredResponses
    ) -> None:
        self.record, self.task, self.items, self.stored = record, task, items, stored
        self.tags = thought_tags(report)
        self.arms = [(n, arm) for n, arm in enumerate(report.arms) if arm.task == record.name]
        self.lost = 0

    def of(self, chosen: set[str], search: ReportSearch) -> list[Mapping[str, Any] | None]:
        """An entry for each item of the task; None for one that is not chosen."""
        if not self.stored.known:
            return [self._entry(item, {}) if item in chosen else None for item in self.record.items]
        with closing(Store(search.store)) as store:
            return [
                self._entry(item, self._responses(store, item)) if item in chosen else None
                for item in self.record.items
            ]

    def notes(self) -> Iterable[str]:
        """A note on responses that the store no longer has."""
        if self.lost:
            yield f"{plural(self.lost, 'response')} of {self.record.name} no longer in the store: left out."

    def _responses(self, store: Store, item: str) -> dict[int, Response]:
        """Number of an arm in the report -> response."""
        keys = {n: self.stored.keys[n][item] for n, _ in self.arms if item in self.stored.keys[n]}
        found = store.responses(list(keys.values()))
        self.lost += sum(key not in found for key in keys.values())
        return {n: found[key] for n, key in keys.items() if key in found}

    def _entry(self, item: str, responses: Mapping[int, Response]) -> dict[str, Any]:
        """The texts of an item; equal responses of several arms stand in it once."""
        texts = list(dict.fromkeys(response.text for response in responses.values()))
        arms = [self._arm(item, responses[n], arm, texts) if n in responses else None for n, arm in self.arms]
        return {**self._asked(item), "texts": texts, "arms": arms}

    def _asked(self, name: str) -> dict[str, Any]:
        item = self.items.get(name)
        if item is None:
            return {"prompt": None}
        asked: dict[str, Any] = {"prompt": item.prompt, "target": item.target, "profile": item.context}
        asked |= {"system": item.system, "prefix": item.prefix or None, "options": list(item.options)}
        asked["earlier"] = [[turn.prompt, turn.response] for turn in item.demonstrations]
        if isinstance(self.task, JudgedTask):
            asked["rubric"] = self.task.rubric(item)
        return asked

    def _arm(self, name: str, response: Response, arm: ArmRecord, texts: Sequence[str]) -> dict[str, Any]:
        options = response.option_logprobs
        found: dict[str, Any] = {"text": texts.index(response.text), "finish": response.finish}
        if options is not None:
            found["options"] = [round(value, 3) for value in options]
        cut = arm.reading is not None and name in arm.reading.thoughts_cut
        answer = Answer("", "cut") if cut else without_thoughts(response.text, tags=self.tags)
        if answer.thoughts != "none":
            found["thoughts"] = answer.thoughts
        reading = self._read(name, response, answer)
        if reading and reading.reading:
            found |= {"answer": reading.reading.value, "rule": reading.reading.rule, "way": reading.reading.way}
        return found

    def _read(self, name: str, response: Response, answer: Answer) -> Score | None:
        """The score with the reading of the answer; None if the item is unknown or the task fails on it."""
        if self.task is None or name not in self.items:
            return None
        with recorded(lambda _error: None, passing=(KeyboardInterrupt,)):
            return score_answer(self.task, self.items[name], response, answer)
        return None
