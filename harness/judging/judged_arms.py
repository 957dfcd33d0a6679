"""Judges all arms of a run's judged tasks, and makes their scores and the report's records of the judges.

The run calls `judge_arm` for each arm as soon as its responses are stored; the report calls `score` and `records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.shuffled_profiles import in_place_of, other_user_of, target_describes_user
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import ItemVerdict, JudgedPair, TaskJudge
from mipo_bench.harness.plugins.optional import is_checked
from mipo_bench.harness.protocols import Arm, Question
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, JudgedTask, Task
from mipo_bench.reports.analysis.judges import ArmVerdicts, judged_arm
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.judges import JudgedArmRecord, JudgeRecord
from mipo_bench.reports.records.report import ArmRecord, TaskRecord

UNREAD_ALARM = 0.05
"""Above this share of unread verdicts the report prints a warning at its head."""


@dataclass
class JudgedArms:
    """Judges the arms of judged tasks against their reference arm and keeps the verdicts."""

    judges: Mapping[str, AssignedJudge]
    """Task name -> judge."""
    config: RunConfig
    store: Store
    verdicts: dict[Arm, list[ItemVerdict]] = field(default_factory=dict)
    clusters: dict[Arm, list[str]] = field(default_factory=dict)
    """The cluster of each item of an arm."""
    shuffled_verdicts: dict[Arm, list[ItemVerdict]] = field(default_factory=dict)
    """The verdicts under another user's profile, if the shuffled-profile control was run."""
    _task_judges: dict[str, TaskJudge] = field(default_factory=dict)
    _retests: dict[str, list[bool]] = field(default_factory=dict)

    def judge_arm(self, done: ArmAnswers, reference: ArmAnswers | None, meter: Meter) -> None:
        """Judge one arm. Raises StageError without a reference, and the errors of the judge."""
        if reference is None:
            raise StageError(
                f"no responses to compare with: the reference {done.task.reference} could not be completed"
            )
        task = done.task.task
        if not isinstance(task, JudgedTask):
            raise StageError(f"task {task.name!r} has no rubric to judge by")
        task_judge = self._task_judge(task)
        decided_before = task_judge.decided_by_rule
        own, other = (self._texts(side) for side in (done, reference))
        items = done.task.items
        self.clusters[done.arm] = [item.id if item.user_id is None else item.user_id for item in items]
        self.verdicts[done.arm] = task_judge.judge(
            [JudgedPair(i, task.rubric(i), own[i.id], other[i.id]) for i in items], meter
        )
        other_users = other_user_of(items) if self._controls(task, items) else {}
        if other_users:
            cases = [
                JudgedPair(in_place_of(i, user), task.rubric(user), own[i.id], other[i.id])
                for i in items
                for user in [other_users[i.id]]
            ]
            self.shuffled_verdicts[done.arm] = task_judge.judge(cases, meter)
        if done.arm == reference.arm:  # equal to itself on every item, which shows nothing about the judge
            task_judge.decided_by_rule = decided_before

    def retest(self, task: str, meter: Meter) -> None:
        """Ask the judge of a task some of its questions again."""
        if task in self._task_judges:
            self._retests[task] = self._task_judges[task].retest(meter)

    def score(self, arm: Arm, record: ArmRecord) -> ArmRecord:
        """The arm's record with the verdicts as scores; the scores by rule become parts."""
        found = self.verdicts.get(arm)
        if found is None:
            return record
        names = dict.fromkeys(name for f in found for name in f.parts)
        parts = {name: [f.parts.get(name) for f in found] for name in names}
        checks = {name if name not in parts else f"{name} (rule)": values for name, values in record.parts.items()}
        scores = [f.score for f in found]
        return record.model_copy(update={"scores": scores, "parts": {**parts, "rules": record.scores, **checks}})

    def without_verdicts(self) -> frozenset[tuple[str, str]]:
        """(task, method) of the methods on which the judge was asked for verdicts and gave none."""
        found: dict[tuple[str, str], list[ItemVerdict]] = {}
        for arm, verdicts in self.verdicts.items():
            found.setdefault((arm.task, arm.method), []).extend(v for v in verdicts if v.asked)
        return frozenset(name for name, asked in found.items() if asked and all(v.undecided == v.asked for v in asked))

    def unanswered(self) -> list[Question]:
        """The questions for which a file of verdicts has no verdict."""
        files = [bench for task, bench in self._task_judges.items() if self.judges[task].kind == "file"]
        return [q for bench in files for q, verdict in bench.asked.values() if verdict.value is None]

    def with_judge_hash(self, task: TaskRecord) -> TaskRecord:
        """The task's record with the judge's digest in its scorer hash: another judge is another scorer."""
        assigned = self.judges.get(task.name)
        if assigned is None:
            return task
        names = [task.scorer_hash, assigned.judge.digest, assigned.protocol(self.config.judge)]
        return task.model_copy(update={"scorer_hash": digest(names)[:16]})

    def records(self, tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord]) -> list[JudgeRecord]:
        """One record for each judged task; `arms` are the records that `score` returned."""
        return [
            self._record(task, [a for a in arms if a.task == task.name])
            for task in tasks
            if task.name in self._task_judges
        ]

    def _record(self, task: TaskRecord, arms: Sequence[ArmRecord]) -> JudgeRecord:
        task_judge, assigned = self._task_judges[task.name], self.judges[task.name]
        cases = [f for arm, found in self.verdicts.items() if arm.task == task.name for f in found]
        return task_judge.record(
            task.name,
            task_judge.consistency(cases, self._retests.get(task.name, []), self.config.alpha),
            assigned.validation,
            self._arms(task, arms),
            _warnings(assigned, task.name, task_judge.unread, len(task_judge.asked)),
        )

    def _arms(self, task: TaskRecord, arms: Sequence[ArmRecord]) -> list[JudgedArmRecord]:
        reference = next((a for a in arms if _is_reference(a, task)), None)
        groups = {a.method: [b for b in arms if b.method == a.method] for a in arms if not _is_reference(a, task)}
        average, alpha = self.config.average, self.config.alpha
        return [
            judged_arm(task, group, reference, self._verdicts(group), average, alpha)
            for group in groups.values()
            if reference
        ]

    def _verdicts(self, group: Sequence[ArmRecord]) -> ArmVerdicts:
        """The verdicts on all training seeds of a method, in the order of `group`."""
        by_name = {(arm.task, arm.method, arm.train_seed): found for arm, found in self.verdicts.items()}
        cases = [f for a in group for f in by_name[a.task, a.method, a.train_seed]]
        return ArmVerdicts([f.by_order for f in cases], sum(f.undecided for f in cases), sum(f.asked for f in cases))

    def _task_judge(self, task: Task) -> TaskJudge:
        if task.name not in self._task_judges:
            checked = task if is_checked(task) else None
            self._task_judges[task.name] = TaskJudge(self.judges[task.name], self.config.judge, self.store, checked)
        return self._task_judges[task.name]

    def _controls(self, task: Task, items: Sequence[Item]) -> bool:
        """Whether to run the shuffled-profile control.

        Rules judge at no cost, but only a target that describes the user depends on the profile. Any other judge reads
        the profile, and costs as many questions again, so the setting decides.
        """
        if self.judges[task.name].kind == "rules":
            return target_describes_user(task, items)
        return self.config.judge.shuffled

    def _texts(self, done: ArmAnswers) -> dict[str, str]:
        """Item id -> response without thoughts; empty if the arm failed on the item."""
        responses = done.responses(self.store)
        answers = done.without_thoughts(responses)
        answered = {item for item, response in responses.items() if response.generated}
        return {item.id: answers[item.id].text if item.id in answered else "" for item in done.task.items}


def _is_reference(arm: ArmRecord, task: TaskRecord) -> bool:
    return arm.method == task.reference and arm.recipe is None


def _warnings(assigned: AssignedJudge, task: str, unread: int, asked: int) -> list[CaveatRecord]:
    found = [CaveatRecord(code="judge_family", message=note) for note in assigned.notes]
    if assigned.validation is None:
        message = "judge not validated: check it on labelled data with `mipo-bench check-judge`"
        found.append(CaveatRecord(code="judge_not_validated", message=message))
    elif assigned.validation.labels != task:
        message = f"the judge was validated on {assigned.validation.labels}, not on {task}"
        found.append(CaveatRecord(code="judge_validated_elsewhere", message=message))
    if unread:
        message = f"{unread} of {asked} verdicts could not be read and count as ties"
        code = "verdicts_lost" if unread > UNREAD_ALARM * asked else "verdicts_unread"
        found.append(CaveatRecord(code=code, message=message))
    return found
