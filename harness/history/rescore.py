"""Stored responses of the reports of a diff, to be quoted (`--items`) or scored again (`--rescore`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mipo_bench.harness.config.schema import ThoughtTags
from mipo_bench.harness.errors import ConfigError, DataError, ReportError, first_line
from mipo_bench.harness.evaluation.scoring import ArmResponses, describe_task, score_arm
from mipo_bench.harness.history.find_report import ReportSearch, find_run
from mipo_bench.harness.plugins.registry import Plugins, load_plugins
from mipo_bench.harness.plugins.task_data import on_data
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, Response, Task
from mipo_bench.reports.diff.records import ArmDiff, Side
from mipo_bench.reports.pages.page import Quote
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH, run_id, seal
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, Answer, ThoughtTag, without_thoughts


class StoredResponses:
    """The stored responses of one report; `known` is False if the store does not have its run."""

    def __init__(self, report: Report, search: ReportSearch) -> None:
        self.report, self.search = report, search
        run = find_run(report.digest or seal(report).digest, search)
        self.known = run is not None
        self.keys: Sequence[Mapping[str, str]] = run.keys if run else ()

    def responses(self, index: int, items: Sequence[str]) -> dict[str, Response]:
        """Item -> stored response of an arm, given by its index in the report."""
        keys = {item: self.keys[index][item] for item in items if self.known and item in self.keys[index]}
        if not keys:
            return {}
        with closing(Store(self.search.store)) as store:
            found = store.responses(list(keys.values()))
        return {item: found[key] for item, key in keys.items() if key in found}


class ArmTexts:
    """A callable that quotes an item: its prompt, and the response of each side under the first training seed."""

    def __init__(self, sides: Mapping[str, StoredResponses], plugins: Plugins, data: Mapping[str, Path]) -> None:
        self.sides, self.plugins, self.data = sides, plugins, data
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, arm: ArmDiff, item: str) -> list[Quote]:
        """The quotes of an item; empty if the store has no response of either side."""
        found = [q for name, side in self.sides.items() for q in self._quotes(name, side, arm, item)]
        prompt = self.prompts(arm.task).get(item)
        return [Quote("prompt", prompt), *found] if found and prompt is not None else found

    def _quotes(self, name: str, side: StoredResponses, arm: ArmDiff, item: str) -> list[Quote]:
        for index, record in enumerate(side.report.arms):
            if (record.task, record.method) == (arm.task, arm.method):
                response = side.responses(index, [item]).get(item)
                seed = "" if record.train_seed is None else f", training seed {record.train_seed}"
                return [Quote(f"{name}{seed}", response.text)] if response else []
        return []

    def prompts(self, task: str) -> dict[str, str]:
        """Item -> prompt of a task; empty if it is not installed or its data are missing."""
        if task not in self._known:
            plugin = installed_task(task, self.plugins, self.data)
            try:
                self._known[task] = {item.id: item.prompt for item in plugin.items("eval")} if plugin else {}
            except DataError:
                self._known[task] = {}
        return self._known[task]


def texts_of(a: Side, b: Side, search: ReportSearch) -> ArmTexts:
    """The quotes of prompts and responses for the item lists of a diff."""
    sides = {"A": StoredResponses(a.report, search), "B": StoredResponses(b.report, search)}
    return ArmTexts(sides, load_plugins(search.include), search.data)


def rescored(side: Side, search: ReportSearch) -> Side:
    """The side with every response scored again by the installed tasks.

    Raises ReportError if the store lacks the run or a response, or a task is not installed or has changed its items;
    DataError if a task's data are missing.
    """
    replay = StoredResponses(side.report, search)
    if not replay.known:
        raise ReportError(
            f"--rescore: the store {search.store} has no run {run_id(side.report)} ({side.label}), so its responses "
            "are missing. Rescore on the machine of the run, or name its store with --store."
        )
    judged = [record.task for record in side.report.judges]
    if judged:
        raise ReportError(
            f"--rescore: only a judge can score {', '.join(judged)} of {side.label} again. Repeat the run with its "
            "--judge: responses and verdicts come from the store."
        )
    plugins = load_plugins(search.include)
    tasks = {record.name: _installed(record, side.label, plugins, search.data) for record in side.report.tasks}
    arms = [_rescore(arm, replay, n, tasks[arm.task]) for n, arm in enumerate(side.report.arms)]
    tags = thought_tags(side.report)
    records = [describe_task(tasks[r.name][0], r.reference, tasks[r.name][1], tags) for r in side.report.tasks]
    report = side.report.model_copy(update={"tasks": records, "arms": arms, "comparisons": []})
    return replace(side, report=report, label=f"{side.label}, rescored")


def installed_task(task: str, plugins: Plugins, data: Mapping[str, Path]) -> Task | None:
    """The task plugin of that name; None if there is none."""
    try:
        return on_data(plugins.task(task), data)
    except ConfigError:
        return None


def _installed(record: TaskRecord, label: str, plugins: Plugins, data: Mapping[str, Path]) -> tuple[Task, list[Item]]:
    """The task plugin and the items of the record. Raises ReportError if they have changed."""
    plugin = installed_task(record.name, plugins, data)
    if plugin is None:
        raise ReportError(
            f"--rescore: task {record.name!r} of {label} is not installed. If a file has it, give --include FILE."
        )
    by_id = {item.id: item for item in plugin.items("eval")}
    items = [by_id[name] for name in record.items if name in by_id]
    now = describe_task(plugin, record.reference, items)
    if (now.items, now.prompt_hashes, now.target_hashes) != (record.items, record.prompt_hashes, record.target_hashes):
        raise ReportError(f"--rescore: the items of task {record.name!r} have changed since {label} was made.")
    return plugin, items


def _rescore(arm: ArmRecord, replay: StoredResponses, index: int, task: tuple[Task, list[Item]]) -> ArmRecord:
    plugin, items = task
    responses = replay.responses(index, [item.id for item in items])
    failed = {name: reason for name, reason in arm.failed.items() if name not in replay.keys[index]}
    missing = [item.id for item in items if item.id not in responses and item.id not in failed]
    if missing:
        raise ReportError(
            f"--rescore: {len(missing)} responses of {arm.task}/{arm.method} are no longer in the store (run "
            f"{run_id(replay.report)[:RUN_ID_LENGTH]}), the first for item {missing[0]!r}. Run it again."
        )
    identity = Arm(arm.task, arm.baseline, arm.recipe, arm.train_seed, arm.sample_seed, arm.noise)
    answers = _without_thoughts(responses, arm, thought_tags(replay.report))
    return score_arm(plugin, items, ArmResponses(identity, responses, answers, failed, arm.model_digest))


def thought_tags(report: Report) -> Sequence[ThoughtTag]:
    """The tags of the run's configuration; the default ones for a report that is older than the setting."""
    named = report.config.get("thought_tags")
    try:
        return THOUGHT_TAGS if named is None else TypeAdapter(ThoughtTags).validate_python(named)
    except ValidationError as error:
        raise ReportError(f"--rescore: thought_tags in the report's configuration: {first_line(error)}") from error


def _without_thoughts(
    responses: Mapping[str, Response], arm: ArmRecord, tags: Sequence[ThoughtTag]
) -> dict[str, Answer]:
    """Item -> answer. The store has no prompts, so the record tells which thoughts a prompt opened and a limit cut."""
    cut = set(arm.reading.thoughts_cut) if arm.reading else set()
    return {
        item: Answer("", "cut") if item in cut else without_thoughts(response.text, tags=tags)
        for item, response in responses.items()
    }
