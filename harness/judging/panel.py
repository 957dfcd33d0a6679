"""Several judges of the same arms: each one's verdicts, their agreement, and the verdict on which all agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import TIE, ItemVerdict
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.harness.protocols import Arm, Question
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.records.judges import AgreementRecord, JudgeRecord
from mipo_bench.reports.records.report import ArmRecord, TaskRecord
from mipo_bench.reports.statistics.verdicts.agreement import agreement


def judged_arms(judges: Mapping[str, AssignedJudge], config: RunConfig, store: Store) -> JudgedArms:
    """The arms of a run, judged by one judge or by several."""
    count = max((len(judge.members) for judge in judges.values()), default=1)
    if count == 1:
        return JudgedArms(judges, config, store)
    by_member = [{task: replace(judge.members[n], others=()) for task, judge in judges.items()} for n in range(count)]
    return JudgePanel(judges, config, store, members=tuple(JudgedArms(own, config, store) for own in by_member))


def agreed(found: Sequence[ItemVerdict]) -> ItemVerdict:
    """The joint verdict of several judges on one item.

    It is the mean of their scores where all of them name the same winner, or none, and a tie otherwise. The parts are
    those of each judge, with its number, its score, and `agreed`.
    """
    same = len({_winner(verdict) for verdict in found}) == 1 and all(_is_known(verdict) for verdict in found)
    parts = {f"{name} {n}": value for n, one in enumerate(found, 1) for name, value in one.parts.items()}
    scores = {f"judge {n}": one.score for n, one in enumerate(found, 1)}
    score = sum(scores.values()) / len(found) if same else TIE
    counts = sum(one.undecided for one in found), sum(one.asked for one in found)
    return ItemVerdict(score, {"agreed": float(same), **scores, **parts}, None, *counts)


def _winner(verdict: ItemVerdict) -> float:
    """1 if the arm wins the item, 0 if the reference does, 1/2 for a tie."""
    return TIE if verdict.score == TIE else float(verdict.score > TIE)


def _is_known(verdict: ItemVerdict) -> bool:
    """Whether the verdict is one, and not a tie because every answer was unreadable."""
    return not verdict.asked or verdict.undecided < verdict.asked


@dataclass
class JudgePanel(JudgedArms):
    """Judged arms whose verdicts are those on which all `members` agree."""

    members: tuple[JudgedArms, ...] = ()

    def judge_arm(self, done: ArmAnswers, reference: ArmAnswers | None, meter: Meter) -> None:
        """See `JudgedArms`: every judge judges the arm."""
        for member in self.members:
            member.judge_arm(done, reference, meter)
        arm = done.arm
        self.verdicts[arm] = _joint([member.verdicts[arm] for member in self.members])
        if all(arm in member.shuffled_verdicts for member in self.members):
            self.shuffled_verdicts[arm] = _joint([member.shuffled_verdicts[arm] for member in self.members])

    def retest(self, task: str, meter: Meter) -> None:
        """See `JudgedArms`: every judge is asked again."""
        for member in self.members:
            member.retest(task, meter)

    def without_verdicts(self) -> frozenset[tuple[str, str]]:
        """(task, method) of the methods on which one of the judges gave no verdict: the joint ones are all ties."""
        return frozenset().union(*(member.without_verdicts() for member in self.members))

    def unanswered(self) -> list[Question]:
        """See `JudgedArms`."""
        return [question for member in self.members for question in member.unanswered()]

    def with_judge_hash(self, task: TaskRecord) -> TaskRecord:
        """The task's record with the digests of all judges in its scorer hash."""
        judge = self.judges.get(task.name)
        if judge is None:
            return task
        settings = self.config.judge
        names = [part for one in judge.members for part in (one.judge.digest, one.protocol(settings))]
        return task.model_copy(update={"scorer_hash": digest([task.scorer_hash, *names])[:16]})

    def records(self, tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord]) -> list[JudgeRecord]:
        """The records of each judge on its own verdicts, with its agreement with the judges before it."""
        found = [
            (member, member.records(tasks, [_as_judged_by(member, arm) for arm in arms])) for member in self.members
        ]
        return [
            record.model_copy(update={"agreements": self._agreements(task.name, n)})
            for task in tasks
            for n, (_, records) in enumerate(found)
            for record in records
            if record.task == task.name
        ]

    def _agreements(self, task: str, n: int) -> list[AgreementRecord]:
        """The agreement of the judge number `n` with those before it, over all arms but the reference."""
        own = self.members[n]
        return [
            _agreement(self.judges[task].members[k].judge.name, _pairs(task, self.members[k], own), self.config.alpha)
            for k in range(n)
        ]


def _joint(by_judge: Sequence[Sequence[ItemVerdict]]) -> list[ItemVerdict]:
    return [agreed(found) for found in zip(*by_judge, strict=True)]


def _as_judged_by(member: JudgedArms, record: ArmRecord) -> ArmRecord:
    """The record of an arm with the scores of one judge; unchanged if it judged no such arm."""
    place = (record.task, record.method, record.train_seed)
    arm = next((a for a in member.verdicts if (a.task, a.method, a.train_seed) == place), None)
    return record if arm is None else member.score(arm, record.model_copy(update={"parts": {}}))


def _pairs(task: str, first: JudgedArms, second: JudgedArms) -> list[tuple[str, float, float]]:
    """(cluster, winner of the one, winner of the other) of every item that both judges were asked about."""
    arms = [arm for arm in first.verdicts if arm.task == task and arm in second.verdicts]
    return [pair for arm in arms for pair in _pairs_of(arm, first, second)]


def _pairs_of(arm: Arm, first: JudgedArms, second: JudgedArms) -> list[tuple[str, float, float]]:
    both = zip(first.clusters[arm], first.verdicts[arm], second.verdicts[arm], strict=True)
    return [(cluster, _winner(a), _winner(b)) for cluster, a, b in both if a.asked and b.asked]


def _agreement(name: str, pairs: Sequence[tuple[str, float, float]], alpha: float) -> AgreementRecord:
    clusters, first, second = (list(column) for column in zip(*pairs, strict=True)) if pairs else ([], [], [])
    found = agreement(first, second, clusters, alpha) if pairs else None
    return AgreementRecord(
        judge=name,
        n_items=len(pairs),
        n_clusters=len(set(clusters)),
        same=found.agreed if found else None,
        kappa=found.kappa if found else None,
        kappa_low=found.ci_low if found else None,
        kappa_high=found.ci_high if found else None,
    )
