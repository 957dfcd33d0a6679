"""Texts for the sample browser of the HTML report: prompts of the installed tasks, responses of the run store.

A prompt is taken only where its hash and that of its target are those of the report. What is missing is told in notes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from mipo_bench.harness.errors import ConfigError, DataError, first_line
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.evaluation.scoring import describe_task, score_answer
from mipo_bench.harness.history.find_report import ReportSearch
from mipo_bench.harness.history.rescore import StoredResponses, installed_task, thought_tags
from mipo_bench.harness.history.stored_verdicts import StoredVerdicts
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, JudgedTask, Response, Score, Task
from mipo_bench.reports.diff.diff_reports import is_wanted
from mipo_bench.reports.html.blocks import Block, text_blocks
from mipo_bench.reports.html.items import Choice, chosen_items
from mipo_bench.reports.html.report import Texts
from mipo_bench.reports.numbers import plural
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.records.report_file import run_id
from mipo_bench.tasks.reading.thoughts import Answer, without_thoughts

_CHOSEN = {"all": "all", "changed": "those with a changed score", "failed": "those without a usable answer"}
MIB_OF_TEXT = 0.44 / 2**20
"""MiB in the file for a byte of text: deflate makes a third of it, base64 adds a third."""


class ItemTexts:
    """The texts of the chosen items of a report: first their size, then the texts in blocks.

    Raises ConfigError if no arm fits the patterns.
    """

    def __init__(self, report: Report, search: ReportSearch, choice: Choice) -> None:
        self.report, self.search, self.choice = report, search, choice
        self.stored = StoredResponses(report, search)
        self.notes = [] if self.stored.known else [_unknown_run(report)]
        plugins = load_plugins(search.include)
        names = [f"{arm.task}/{arm.method}" for arm in report.arms]
        if not any(is_wanted(name, choice.arms) for name in names):
            known = ", ".join(dict.fromkeys(names))
            raise ConfigError(f"no arm matches {', '.join(choice.arms)}. This report has {known}.")
        self.tasks = [self._task(record, installed_task(record.name, plugins, search.data)) for record in report.tasks]

    def _task(self, record: TaskRecord, task: Task | None) -> _Texts:
        items, note = _unchanged(record, task)
        self.notes += [note] if note else []
        chosen = chosen_items(self.report, record, self.choice)
        return _Texts(self.report, record, (task, items), self.stored, chosen, self.choice.arms)

    def mib(self) -> float:
        """About the size of prompts and responses in the file, in MiB."""
        if not self.stored.known:
            return MIB_OF_TEXT * sum(task.prompt_bytes() for task in self.tasks)
        with closing(Store(self.search.store)) as store:
            return MIB_OF_TEXT * sum(task.prompt_bytes() + task.response_bytes(store) for task in self.tasks)

    def read(self) -> Texts:
        """All texts, in blocks, and notes on those that are missing."""
        blocks: list[Block] = []
        notes = list(self.notes)
        for number, task in enumerate(self.tasks):
            blocks += text_blocks(number, task.entries(self.search))
            notes += task.notes()
        count = sum(len(task.chosen) for task in self.tasks)
        return Texts(blocks, _holds(self.report, count, self.choice, responses=self.stored.known), notes)


def _holds(report: Report, count: int, choice: Choice, *, responses: bool) -> str:
    """The line at the top of the page about the texts in the file, and the licences of their data."""
    chosen = _CHOSEN[choice.which]
    if choice.most is not None:
        chosen = f"at most {choice.most} of a task, drawn from {chosen}, half of them with a changed score"
    profiles = " and user profiles" if any(task.users for task in report.tasks) else ""
    answers = "their responses" if responses else "no responses"
    if responses and choice.arms:
        answers = f"the responses of {', '.join(choice.arms)}"
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
        self,
        report: Report,
        record: TaskRecord,
        plugin: tuple[Task | None, Mapping[str, Item]],
        stored: StoredResponses,
        chosen: set[str],
        patterns: Sequence[str],
    ) -> None:
        """`plugin` has the task, None if it is not installed, and its items by id."""
        self.record, self.stored, self.chosen = record, stored, chosen
        self.task, self.items = plugin
        self.tags = thought_tags(report)
        self.arms = [(n, arm) for n, arm in enumerate(report.arms) if arm.task == record.name]
        self.shown = {n for n, arm in self.arms if is_wanted(f"{arm.task}/{arm.method}", patterns)}
        self.verdicts = StoredVerdicts(report, record, self.task)
        self.lost = 0

    def prompt_bytes(self) -> int:
        """UTF-8 bytes of prompts, profiles and demonstrations of the chosen items."""
        asked = (self._asked(item) for item in self.chosen)
        return sum(len(json.dumps(texts, ensure_ascii=False).encode(errors="replace")) for texts in asked)

    def response_bytes(self, store: Store) -> int:
        """UTF-8 bytes of the distinct responses to the chosen items."""
        return sum(store.text_bytes(list(self._keys(item, self.shown).values())) for item in self.chosen)

    def entries(self, search: ReportSearch) -> Iterator[Mapping[str, Any] | None]:
        """An entry for each item of the task, read when it is needed; None for one that is not chosen."""
        if not self.stored.known:
            for item in self.record.items:
                yield {**self._asked(item), "texts": [], "arms": []} if item in self.chosen else None
            return
        with closing(Store(search.store)) as store:
            for item in self.record.items:
                yield self._entry(store, item) if item in self.chosen else None

    def notes(self) -> Iterable[str]:
        """A note on responses that the store no longer has."""
        if self.lost:
            yield f"{plural(self.lost, 'response')} of {self.record.name} no longer in the store: left out."

    def _keys(self, item: str, arms: Iterable[int]) -> dict[int, str]:
        """Number of an arm in the report -> key of its response."""
        return {n: self.stored.keys[n][item] for n in arms if item in self.stored.keys[n]}

    def _entry(self, store: Store, item: str) -> dict[str, Any]:
        """The texts of an item; equal responses of several arms stand in it once."""
        keys = self._keys(item, {*self.shown, *self.verdicts.needed})
        found = store.responses(list(keys.values()))
        responses = {n: found[key] for n, key in keys.items() if key in found}
        self.lost += sum(n in self.shown and key not in found for n, key in keys.items())
        answers = {n: self._answer(item, responses[n], arm) for n, arm in self.arms if n in responses}
        said = self.verdicts.of(store, self.items.get(item), self._judged(item, responses, answers))
        own = {n: response for n, response in responses.items() if n in self.shown}
        texts = list(dict.fromkeys(response.text for response in own.values()))
        arms = {
            n: {**self._arm(item, response, answers[n], texts), "verdicts": said.get(n, [])}
            for n, response in own.items()
        }
        return {**self._asked(item), "texts": texts, "arms": [arms.get(n) for n, _ in self.arms]}

    def _judged(self, item: str, responses: Mapping[int, Response], answers: Mapping[int, Answer]) -> dict[int, str]:
        """Number of an arm -> the text that the judge saw: without thoughts; empty if the arm failed on the item."""
        seen = {n: answers[n].text if response.generated else "" for n, response in responses.items()}
        return {n: "" for n, arm in self.arms if item in arm.failed} | seen

    def _answer(self, item: str, response: Response, arm: ArmRecord) -> Answer:
        cut = arm.reading is not None and item in arm.reading.thoughts_cut
        return Answer("", "cut") if cut else without_thoughts(response.text, tags=self.tags)

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

    def _arm(self, name: str, response: Response, answer: Answer, texts: Sequence[str]) -> dict[str, Any]:
        options = response.option_logprobs
        found: dict[str, Any] = {"text": texts.index(response.text), "finish": response.finish}
        if options is not None:
            found["options"] = [round(value, 3) for value in options]
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
