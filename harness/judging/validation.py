"""Agreement of a judge with labels: those of a judged task, or those that people wrote in a file.

`mipo-bench check-judge` uses it; the resulting `ValidationRecord` enters the reports of later runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.checks import CheckedTask
from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.core.text import id_text
from mipo_bench.harness.errors import ConfigError, ModelError, StageError
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import TIE, ItemVerdict, JudgedPair, TaskJudge
from mipo_bench.harness.judging.verdict_file import labelled, read_rows
from mipo_bench.harness.plugins.optional import is_checked
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, JudgedTask
from mipo_bench.reports.records.judges import JudgeRecord, ValidationRecord
from mipo_bench.reports.statistics.verdicts.agreement import agreement
from mipo_bench.reports.stats import Scores, summarize

RUBRIC = "A good response answers the request, and does so in the way that this user would rate highest."
"""The rubric of labels that have none."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Labels:
    """Comparisons with their labels: 1 if the first response is better, 0 if the second is, 1/2 for a tie."""

    name: str
    cases: tuple[JudgedPair, ...]
    values: tuple[float, ...]
    checked: CheckedTask | None = None
    """The task, if the judge answers its checks."""

    @property
    def clusters(self) -> list[str]:
        """The cluster of each comparison: its user, or the item itself if it has no user."""
        return [case.item.user_id or case.item.id for case in self.cases]


def labels_of(task: JudgedTask, limit: int | None) -> Labels:
    """The preferred and rejected responses of a task's evaluation items, in random order.

    Raises ConfigError if they are equal on every item.
    """
    cases, values = [], []
    for item in task.items("eval")[:limit]:
        gold, wrong = task.gold(item), task.wrong(item)
        if gold.strip() == wrong.strip():
            continue
        first = seed_of("labels", task.name, item.id) % 2 == 0
        cases.append(JudgedPair(item, task.rubric(item), *((gold, wrong) if first else (wrong, gold))))
        values.append(float(first))
    if not cases:
        raise ConfigError(
            f"task {task.name!r} cannot check a judge: its gold and wrong responses are equal on every item."
        )
    return Labels(task.name, tuple(cases), tuple(values), task if is_checked(task) else None)


def labels_in(path: Path, limit: int | None) -> Labels:
    """The comparisons in a file (see `verdict_file.FileJudge`), with the optional fields "user" and "rubric".

    Raises ConfigError.
    """
    cases, values = [], []
    for number, row in read_rows(path):
        found = labelled(path, number, row)
        user, rubric = row.get("user"), row.get("rubric")
        rubric = RUBRIC if rubric is None else rubric
        name = None if user is None else id_text(user)
        if not isinstance(rubric, str) or (user is not None and name is None):
            raise ConfigError(f'{path}, line {number}: "user" and "rubric" must be texts if they are given.')
        item = Item(f"line {number}", found.prompt, "", name, found.context)
        cases.append(JudgedPair(item, rubric, found.a, found.b))
        values.append(found.value)
    if not cases:
        raise ConfigError(f"{path} holds no comparison.")
    return Labels(path.name, tuple(cases[:limit]), tuple(values[:limit]))


def check(assigned: AssignedJudge, labels: Labels, settings: JudgeConfig, store: Store, meter: Meter) -> JudgeRecord:
    """Let the judge decide every comparison, and compare its verdicts with the labels.

    Raises ModelError if its server stops answering: a run records that for one arm and goes on, here nothing is left.
    """
    task_judge = TaskJudge(assigned, settings, store, labels.checked)
    try:
        found = task_judge.judge(labels.cases, meter)
        retests = task_judge.retest(meter)
    except StageError as error:
        raise ModelError(f"{error}. The verdicts so far are kept: the same command goes on from here.") from error
    return task_judge.record(labels.name, task_judge.consistency(found, retests, ALPHA), validation(labels, found))


def validation(labels: Labels, found: Sequence[ItemVerdict]) -> ValidationRecord:
    """Kappa and accuracy of the verdicts. A mean of both orders above 1/2 is a win, below it a loss, at it a tie."""
    verdicts = [TIE if f.score == TIE else float(f.score > TIE) for f in found]
    agreed = agreement(labels.values, verdicts, labels.clusters)
    accuracies = [1 - abs(label - verdict) for label, verdict in zip(labels.values, verdicts, strict=True)]
    ids = [case.item.id for case in labels.cases]
    accuracy = summarize(Scores.from_columns(ids, accuracies, labels.clusters))
    return ValidationRecord(
        labels=labels.name,
        n_items=agreed.n_items,
        n_clusters=agreed.n_clusters,
        kappa=agreed.kappa,
        kappa_low=agreed.ci_low,
        kappa_high=agreed.ci_high,
        accuracy=accuracy.mean,
        accuracy_low=None if accuracy.ci_low is None else max(0.0, accuracy.ci_low),
        accuracy_high=None if accuracy.ci_high is None else min(1.0, accuracy.ci_high),
    )
