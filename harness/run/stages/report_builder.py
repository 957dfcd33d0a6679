"""The report of a run: scores, comparisons, notes and measurements from the responses that the stages stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mipo_bench.harness.core.provenance import hardware
from mipo_bench.harness.diagnostics.guards import GuardResult, Guards
from mipo_bench.harness.diagnostics.information import InformationResult, InformationStage
from mipo_bench.harness.diagnostics.shuffled_control import ShuffledControl, ShuffledResult
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.scoring import describe_task, score_arm, stored_responses
from mipo_bench.harness.history.former_runs import former_reports
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.plugins.optional import is_trained_baseline
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.provenance import provenance
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.reports.analysis.comparisons import ComparisonPlan, comparisons, estimates
from mipo_bench.reports.analysis.looks import earlier_looks
from mipo_bench.reports.analysis.shuffled_control import controls
from mipo_bench.reports.analysis.weak_baselines import with_below_base_warnings
from mipo_bench.reports.records.report import (
    ArmRecord,
    CheckpointRecord,
    ComparisonRecord,
    FailureRecord,
    ModelRecord,
    Report,
    TaskRecord,
)


@dataclass(frozen=True, slots=True)
class RunResults:
    """The results of the stages before the report. `arms`, `checkpoints` and `failures` are in the report's order."""

    arms: Sequence[ArmAnswers]
    checkpoints: Sequence[CheckpointRecord]
    failures: Sequence[FailureRecord]
    first_pairs: Mapping[tuple[str, str], PairSet]
    """(task, recipe) -> the preference pairs of the lowest training seed."""


@dataclass(frozen=True, slots=True)
class ReportBuilder:
    """Builds the report of a run. It generates no response, so a changed scorer costs no generation."""

    context: RunContext
    judged_arms: JudgedArms
    results: RunResults

    def build(self) -> Report:
        """Score the arms, compare them and measure. Raises UserError where the store or the model cannot be used."""
        context, results = self.context, self.results
        arms = [self.judged_arms.score(answers.arm, self._without_judge(answers)) for answers in results.arms]
        tasks = [self.judged_arms.with_judge_hash(task) for task in self._tasks()]
        declared = replace(_comparison_plan(context), without_verdicts=self.judged_arms.without_verdicts())
        information, guards, shuffled = self._measure(tasks, arms)
        report = Report(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=context.config.model_dump(mode="json", exclude={"store", "out"}),
            config_hash=context.config.result_hash(),
            model=_model(context),
            average=context.config.average,
            alpha=context.config.alpha,
            tasks=tasks,
            arms=arms,
            checkpoints=list(results.checkpoints),
            estimates=estimates(tasks, arms, declared),
            comparisons=self._comparisons(tasks, arms, declared),
            failures=[*results.failures, *information.failures, *guards.failures, *shuffled.failures],
            notes=[*self._notes(), *information.notes],
            provenance=provenance(context.config, _machine(context)),
            information=information.records,
            guards=guards.records,
            judges=self.judged_arms.records(tasks, arms),
            controls=controls(tasks, shuffled.scores, declared),
        )
        return self._with_looks(report)

    def measure(self) -> None:
        """Compute the measurements alone, whose likelihoods stay in the store. They need no judge."""
        self._measure(self._tasks(), [self._without_judge(answers) for answers in self.results.arms])

    def _tasks(self) -> list[TaskRecord]:
        return [describe_task(t.task, t.reference, t.items, t.thought_tags) for t in self.context.plan.tasks]

    def _without_judge(self, answers: ArmAnswers) -> ArmRecord:
        """The scores of one arm by the task's scorer alone."""
        return score_arm(answers.task.task, answers.task.items, stored_responses(answers, self.context.store))

    def _measure(
        self, tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord]
    ) -> tuple[InformationResult, GuardResult, ShuffledResult]:
        """Mutual information, guards and the shuffled-profile control, which ask the models once more."""
        context, results = self.context, self.results
        stage = InformationStage(context.config, context.plan, context.store, context.display)
        information = stage.measure(results.arms, tasks, arms)
        guards = Guards(context.store, context.display, context.backend.base, results.first_pairs)
        control = ShuffledControl(context.config, context.plan, context.store, context.display, self.judged_arms)
        return information, guards.compute(context.plan.tasks, results.arms), control.measure(results.arms, arms)

    def _comparisons(
        self, tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord], declared: ComparisonPlan
    ) -> list[ComparisonRecord]:
        return with_below_base_warnings(
            comparisons(tasks, arms, declared),
            tasks,
            self.results.checkpoints,
            declared.trained_baselines,
            declared.alpha,
        )

    def _with_looks(self, report: Report) -> Report:
        """Add the earlier looks at the same items, and a note on former runs that cannot be read."""
        former, unread = former_reports(self.context.store, report.model.digest)
        unknown = [f"cannot tell whether these runs of the store looked at the same items: {', '.join(unread)}"]
        notes = [*report.notes, *(unknown if unread else [])]
        return report.model_copy(update={"looks": earlier_looks(report, former), "notes": notes})

    def _notes(self) -> list[str]:
        """Notes on the choice of tasks, on damaged rows, and on the models' answers, also those that were stored."""
        backend, store = self.context.backend, self.context.store
        damaged = [f"{name} was damaged and has been computed again" for name in store.damaged]
        generators = [backend.base, *(answers.model.generator for answers in self.results.arms)]
        stored = [note for name in dict.fromkeys(g.digest for g in generators) for note in store.notes(name)]
        return [*self.context.plan.notes, *damaged, *dict.fromkeys([*backend.notes, *stored])]


def _comparison_plan(context: RunContext) -> ComparisonPlan:
    """The comparisons that are declared before any score is known."""
    config, plan = context.config, context.plan
    methods = dict.fromkeys((arm.task, arm.method, arm.recipe is not None) for arm in plan.arms)
    return ComparisonPlan(config.average, config.alpha, tuple(methods), config.seeds, _trained_baselines(plan))


def _trained_baselines(plan: Plan) -> frozenset[str]:
    return frozenset(name for name, recipe in plan.recipes.items() if is_trained_baseline(recipe))


def _machine(context: RunContext) -> Mapping[str, str | int]:
    return context.hardware() if context.hardware else hardware(context.backend.device)


def _model(context: RunContext) -> ModelRecord:
    backend = context.backend
    return ModelRecord(
        name=context.config.model,
        digest=backend.model_digest,
        device=backend.device,
        dtype=backend.dtype,
        backend=backend.name,
    )
