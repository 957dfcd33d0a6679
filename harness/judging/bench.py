"""Judges the arms of a task: compares each response with the reference arm's response to the same item.

The reference scores 1/2 by definition; its A/A twin is judged like any other arm. `TaskJudge` first applies a rule
(identical responses tie, an empty response loses), then looks the question up in the store, then asks the judge. Each
verdict is stored as soon as it arrives, so that no question is asked twice. An answer without a readable verdict is
counted, scores as a tie, and is never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mipo_bench.harness.checks import CheckedTask
from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.protocols import Question, Verdict
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item
from mipo_bench.reports.analysis.judges import BothOrders, consistency
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.judges import ConsistencyRecord, JudgedArmRecord, JudgeRecord, ValidationRecord

TIE = 0.5


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """One item to judge: the rubric, the judged arm's response and the reference's response.

    The response of a side that failed on the item is empty.
    """

    item: Item
    rubric: str
    response: str
    reference: str


@dataclass(frozen=True, slots=True)
class ItemVerdict:
    """The result for one `JudgedPair`, from the judged arm's side.

    `score` is the arm's score on the item, in [0, 1]; `parts` are further figures by name. `orders` holds the verdicts
    in both orders, None unless a judge was asked. `asked` counts the questions that no rule decided, `undecided` those
    of them without a verdict.
    """

    score: float
    parts: Mapping[str, float]
    orders: BothOrders | None = None
    undecided: int = 0
    asked: int = 0

    @property
    def by_order(self) -> tuple[float | None, float | None]:
        """The verdicts with the judged arm shown first and second; the score twice if no judge saw both orders."""
        return (self.orders.first, self.orders.second) if self.orders else (self.score, self.score)


@dataclass
class TaskJudge:
    """The judge of one task with its settings. Counts its questions, including those that the store answers."""

    assigned: AssignedJudge
    settings: JudgeConfig
    store: Store
    task: CheckedTask | None = None
    """The task, if the judge answers its checks."""
    decided_by_rule: int = 0
    asked: dict[str, tuple[Question, Verdict]] = field(default_factory=dict)
    """Content key -> question and verdict, for every question that no rule decided."""

    def judge(self, cases: Sequence[JudgedPair], meter: Meter) -> list[ItemVerdict]:
        """Judge all cases, in order. Raises the judge's errors; verdicts that came before an error are stored."""
        if self.task:
            return self._checked(self.task, cases, meter)
        if self.settings.protocol == "pointwise":
            return self._rated(cases, meter)
        arm_first = [Question(c.item, c.rubric, c.response, c.reference) for c in cases]
        reference_first = [Question(c.item, c.rubric, c.reference, c.response) for c in cases]
        verdicts = self._verdicts([*arm_first, *reference_first], meter)
        return [_paired(c, verdicts[i], verdicts[len(cases) + i]) for i, c in enumerate(cases)]

    def retest(self, meter: Meter) -> list[bool]:
        """Ask some questions again, chosen by their keys; returns for each whether the verdict was the same."""
        read = [key for key in sorted(self.asked) if self.asked[key][1].value is not None]
        again = [self.asked[key] for key in read[: self.settings.retest]] if self._stores else []
        questions = [replace(q, repeat=1) for q, _ in again]
        found = self._answers(questions, meter)
        return [verdict.value == before.value for (_, before), verdict in zip(again, found.values(), strict=True)]

    @property
    def unread(self) -> int:
        """The number of verdicts that could not be read."""
        return sum(verdict.value is None for _, verdict in self.asked.values())

    def consistency(
        self, cases: Iterable[ItemVerdict], retests: Sequence[bool], alpha: float
    ) -> ConsistencyRecord | None:
        """Agreement between orders and between repeats; None for rules and for a file of verdicts."""
        return consistency([c.orders for c in cases if c.orders], retests, alpha) if self._stores else None

    def record(
        self,
        task: str,
        agreed: ConsistencyRecord | None,
        validation: ValidationRecord | None,
        arms: Sequence[JudgedArmRecord] = (),
        warnings: Sequence[CaveatRecord] = (),
    ) -> JudgeRecord:
        """The report's record of this judge on `task`: name, settings, and counts of its questions."""
        sampled = self.assigned.kind in ("model", "server")
        return JudgeRecord(
            task=task,
            name=self.assigned.judge.name,
            kind=self.assigned.kind,
            digest=self.assigned.judge.digest,
            protocol="checks" if self.task else self.settings.protocol,
            temperature=self.settings.temperature if sampled else None,
            top_p=self.settings.top_p if sampled else None,
            calls=len(self.asked),
            settled=self.decided_by_rule,
            retries=sum(max(0, verdict.tries - 1) for _, verdict in self.asked.values()),
            unread=self.unread,
            consistency=agreed,
            validation=validation,
            arms=list(arms),
            warnings=[*warnings, *self._request_notes()],
        )

    def _request_notes(self) -> list[CaveatRecord]:
        """Notes on parameters that the judge's server refused, in this run or when stored verdicts were asked for."""
        notes = self.store.notes(self.assigned.judge.digest) if self._stores else []
        return [CaveatRecord(code="judge_requests", message=f"the judge: {note}") for note in notes]

    def _rated(self, cases: Sequence[JudgedPair], meter: Meter) -> list[ItemVerdict]:
        responses = [Question(c.item, c.rubric, c.response) for c in cases]
        references = [Question(c.item, c.rubric, c.reference) for c in cases]
        verdicts = self._verdicts([*responses, *references], meter)
        return [_compared(verdicts[i], verdicts[len(cases) + i]) for i in range(len(cases))]

    def _checked(self, task: CheckedTask, cases: Sequence[JudgedPair], meter: Meter) -> list[ItemVerdict]:
        checks = [task.checks(case.item) for case in cases]
        sides = [[case.response for case in cases], [case.reference for case in cases]]
        verdicts = iter(
            self._verdicts(
                [
                    Question(case.item, case.rubric, text, check=check)
                    for texts in sides
                    for case, text, own in zip(cases, texts, checks, strict=True)
                    for check in own
                ],
                meter,
            )
        )
        own, other = ([{check.name: next(verdicts) for check in of_item} for of_item in checks] for _ in sides)
        return [_both_checked(task, *answers) for answers in zip(own, other, strict=True)]

    def _verdicts(self, questions: Sequence[Question], meter: Meter) -> list[Verdict]:
        """The verdict on each question, by rule or by the judge. A verdict by rule has `tries` 0."""
        found = {i: value for i, q in enumerate(questions) if (value := verdict_by_rule(q)) is not None}
        self.decided_by_rule += len(found)
        open_ = [i for i in range(len(questions)) if i not in found]
        answers = self._answers([questions[i] for i in open_], meter)
        keys = [self._key(q) for q in questions]
        self.asked.update({keys[i]: (questions[i], answers[keys[i]]) for i in open_})
        return [Verdict(found[i], tries=0) if i in found else answers[key] for i, key in enumerate(keys)]

    def _answers(self, questions: Sequence[Question], meter: Meter) -> dict[str, Verdict]:
        """Key -> verdict. Equal questions are asked once; each readable verdict is stored as soon as it arrives."""
        by_key = {self._key(q): q for q in questions}
        known = self._known(list(by_key))
        names = [key for key in by_key if key not in known]
        meter.total += len(by_key)
        meter.find(len(known))
        meter.expect(Work(len(names)))
        for position, verdict in self.assigned.judge.decide([by_key[key] for key in names]) if names else ():
            known[names[position]] = verdict
            if verdict.value is not None and self._stores:
                self.store.put_notes(self.assigned.judge.digest, self.assigned.remarks())
                self.store.put_verdict(names[position], verdict)
            meter.tick(1, len(verdict.text.split()))
        return {key: known[key] for key in by_key}

    def _known(self, keys: Sequence[str]) -> dict[str, Verdict]:
        """Key -> verdict, for the questions that this judge or the store has already answered."""
        asked = {key: self.asked[key][1] for key in keys if key in self.asked}
        return asked | (self.store.verdicts([key for key in keys if key not in asked]) if self._stores else {})

    @property
    def _stores(self) -> bool:
        """Whether verdicts are stored: those of models are. Rules and files answer at once."""
        return self.assigned.kind in ("model", "server", "nli")

    def _key(self, q: Question) -> str:
        return verdict_key(self.assigned.judge.digest, q)


def verdict_key(judge: str, q: Question) -> str:
    """The content key of the verdict on a question, by the digest of its judge."""
    check = (q.check.name, q.check.question, q.check.statement) if q.check else ()
    return digest(["verdict", judge, q.item.prompt, q.item.context, q.rubric, q.first, q.second, q.repeat, *check])


def verdict_by_rule(q: Question) -> float | None:
    """The verdict that needs no judge: equal responses tie, an empty one loses or has the lowest rating. Else None."""
    if q.second is None:
        return None if q.first.strip() else 0.0
    first, second = q.first.strip(), q.second.strip()
    if first == second:
        return TIE
    return None if first and second else float(bool(first))


def _paired(case: JudgedPair, shown_first: Verdict, shown_second: Verdict) -> ItemVerdict:
    """The mean of both orders. The part `strict` is a win or a loss only if both orders agree, else a tie."""
    first = shown_first.value
    second = None if shown_second.value is None else 1 - shown_second.value
    score = sum(TIE if value is None else value for value in (first, second)) / 2
    alike = first is not None and first == second
    parts = {"strict": score if alike else TIE, "agree": float(alike)}
    orders = BothOrders(_cluster(case.item), first, second) if shown_first.tries else None
    return ItemVerdict(score, parts, orders, (first is None) + (second is None), _asked(shown_first, shown_second))


def _asked(*verdicts: Verdict) -> int:
    """The number of verdicts that a judge was asked for; one by rule took no try."""
    return sum(verdict.tries > 0 for verdict in verdicts)


def _compared(own: Verdict, other: Verdict) -> ItemVerdict:
    """1 if the arm's rating is higher than the reference's, 0 if lower, 1/2 for a tie.

    The part `paper` is the paper's scoring (arXiv 2603.19294), which counts a tie as a win. The part `rating` is 1/2,
    the middle rating, if the arm's rating could not be read.
    """
    counts = (own.value is None) + (other.value is None), _asked(own, other)
    parts = {"rating": TIE if own.value is None else own.value}
    if own.value is None or other.value is None:
        return ItemVerdict(TIE, {**parts, "paper": TIE}, None, *counts)
    score = TIE if own.value == other.value else float(own.value > other.value)
    return ItemVerdict(score, {**parts, "paper": float(own.value >= other.value)}, None, *counts)


def _both_checked(task: CheckedTask, own: Mapping[str, Verdict], other: Mapping[str, Verdict]) -> ItemVerdict:
    """1/2 + half of the difference of both scores; 1/2 if an answer could not be read. The parts are of the arm."""
    verdicts = (*own.values(), *other.values())
    counts = sum(verdict.value is None for verdict in verdicts), _asked(*verdicts)
    ours, theirs = (
        None if None in {v.value for v in side.values()} else task.checked({k: v.value == 1 for k, v in side.items()})
        for side in (own, other)
    )
    parts = {} if ours is None else {"checks": ours.value, **ours.parts}
    score = TIE if ours is None or theirs is None else TIE + (ours.value - theirs.value) / 2
    return ItemVerdict(score, parts, None, *counts)


def _cluster(item: Item) -> str:
    return item.id if item.user_id is None else str(item.user_id)
