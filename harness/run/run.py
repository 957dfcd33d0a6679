"""The stages of a run in order: prompting arms, trained arms, judging, report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.pace import Pace, Work
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.panel import judged_arms
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.run.stages.answerers import ArmAnswerer, ModelAnswerer
from mipo_bench.harness.run.stages.arm_stages import ArmCount, FailureLog
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.helpers import Helpers, Units
from mipo_bench.harness.run.stages.judge_arms import judge_arms
from mipo_bench.harness.run.stages.report_builder import ReportBuilder, RunResults
from mipo_bench.harness.run.stages.train_arms import ArmTrainer
from mipo_bench.harness.store.claims import process_list_text
from mipo_bench.harness.store.work_sharing import claim_each
from mipo_bench.reports.records.report import Report


class Run:
    """One run. An arm that fails becomes a failure in the report, and the other arms go on."""

    def __init__(
        self,
        context: RunContext,
        judges: Mapping[str, AssignedJudge] | None = None,
        answerer: ArmAnswerer | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        """`judges` are by judged task. Without an `answerer`, the base model and its checkpoints answer.

        `helpers` compute trained arms into the store, where this run then finds them.
        """
        self.context = context
        self.answerer = answerer or ModelAnswerer(context, ArmTrainer(context))
        self.judged_arms = judged_arms(judges or {}, context.config, context.store)
        self.helpers = helpers
        self.failures = FailureLog(context.display)
        self.evaluated: list[ArmAnswers] = []
        """The arms that were answered, in the order of the plan once `compute` is done."""
        self.reported: list[ArmAnswers] = []
        """The arms of the report, in its order, once `execute` is done."""

    def execute(self) -> Report:
        """Run every stage and return the report. Raises UserError where the model, a judge or the store fails."""
        self.compute()
        self.reported = judge_arms(self.context, self.evaluated, self.judged_arms, self.failures)
        return self._report_builder(self.reported).build()

    def compute_only(self) -> None:
        """Run all stages but judging and report, which belong to the first process, or to a later run.

        An error here is no loss: that process meets it too.
        """
        self.compute()
        self._report_builder(self.evaluated).measure()

    def compute(self) -> None:
        """Answer every arm. Waits for the arms that another process on the store is computing."""
        self.answerer.prefetch()
        for task in self.context.plan.tasks:
            for arm in self.context.plan.arms_of(task.task.name, trained=False):
                self._answer(task, arm)
        units = self._trained_units()
        if self.helpers:
            self.helpers(units)
        count = self._count_of(units)
        for task, arm in self._claimed_trained_arms(units):
            count.count(computed=self._answer(task, arm))
        order = self._order()
        self.evaluated.sort(key=lambda answers: order[_arm_key(answers.arm)])
        self.failures.records.sort(key=lambda f: order[f.task, f.method, f.train_seed])

    def _answer(self, task: TaskPlan, arm: Arm) -> bool:
        """Answer an arm. Returns whether that took any work."""
        with self.failures.stages_of(arm) as stages:
            self.evaluated.append(self.answerer.answer(task, arm, stages))
        return stages.computed

    def _count_of(self, units: Units) -> ArmCount:
        pace = Pace(time.monotonic)
        pace.expect(Work(len(units)), self.context.store.claims.processes)
        return ArmCount(self.context.display, len(units), pace)

    def _trained_units(self) -> Units:
        """The trained arms, each under the key on which a process claims it, those of the longest task first.

        Processes and hosts take them in this order, so that none waits long for the last one (longest processing time
        first, Graham 1969).
        """
        config = self.context.config
        settings = [config.train.model_dump_json(), config.pairs.model_dump_json()]
        return {
            digest(["arm", self.context.backend.model_digest, *_arm_key(arm), *settings]): (task, arm)
            for task in sorted(self.context.plan.tasks, key=_most_tokens, reverse=True)
            for arm in self.context.plan.arms_of(task.task.name, trained=True)
        }

    def _claimed_trained_arms(self, units: Units) -> Iterator[tuple[TaskPlan, Arm]]:
        """The trained arms, each claimed while it is computed. Arms that another process has claimed come last."""
        claims, display = self.context.store.claims, self.context.display

        def show_waiting() -> None:
            display.say(f"waiting for arms that other processes compute ({process_list_text(claims.others())})")

        return claim_each(claims, units, show_waiting)

    def _order(self) -> dict[tuple[str, str, int | None], int]:
        """(task, method, training seed) -> place in the plan."""
        return {_arm_key(arm): n for n, arm in enumerate(self.context.plan.arms)}

    def _report_builder(self, arms: Sequence[ArmAnswers]) -> ReportBuilder:
        order = self._order()
        checkpoints = sorted(self.answerer.checkpoints, key=lambda c: order[c.task, c.recipe, c.train_seed])
        results = RunResults(arms, checkpoints, self.failures.records, self.answerer.first_pairs)
        return ReportBuilder(self.context, self.judged_arms, results)


def _most_tokens(task: TaskPlan) -> int:
    """The most tokens that a trained arm of this task trains on and answers with, as far as the plan knows."""
    tokens = task.decoding.max_new_tokens or task.task.max_new_tokens
    return tokens * (len(task.items) + len(task.training_items))


def _arm_key(arm: Arm) -> tuple[str, str, int | None]:
    """Task, method and training seed, which together identify an arm of a run."""
    return (arm.task, arm.method, arm.train_seed)
