"""Mutual information in a run: the choice of the measured arms, and their records in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Display
from mipo_bench.harness.diagnostics.mutual_information import Measured, contrast_prompts, measure
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.analysis.information import InformationBlock
from mipo_bench.reports.records.information import InformationRecord
from mipo_bench.reports.records.report import ArmRecord, FailureRecord, TaskRecord
from mipo_bench.reports.statistics.records import Floats


@dataclass
class InformationResult:
    """The measurements. `notes` name models without probabilities, `failures` name tasks that raised an error."""

    records: list[InformationRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[FailureRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class InformationStage:
    """Measures the arms of a run, task by task and baseline by baseline."""

    config: RunConfig
    plan: Plan
    store: Store
    display: Display

    def measure(
        self, evaluated: Sequence[ArmAnswers], tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord]
    ) -> InformationResult:
        """Measure; `arms` are parallel to `evaluated`. Raises UserError. A model without probabilities gives a note."""
        result = InformationResult()
        scored = list(zip(evaluated, arms, strict=True))
        for task in tasks:
            for baseline in dict.fromkeys(e.arm.baseline for e in evaluated if e.arm.task == task.name):
                group = [(e, a) for e, a in scored if (e.arm.task, e.arm.baseline) == (task.name, baseline)]
                chosen = self._chosen([e for e, _ in group])
                if chosen:
                    self._add(task, chosen, [a for _, a in group], result)
        return result

    def _chosen(self, group: Sequence[ArmAnswers]) -> list[ArmAnswers]:
        """The base model's arm and the trained arms with the same prompts; empty where the settings choose none."""
        settings = self.config.information
        if not self.plan.prompts_known:
            return []
        base = [e for e in group if e.arm.recipe is None and not e.arm.aa_twin][:1]
        trained = [e for e in group if e.arm.recipe is not None and (e.arm.train_seed or 0) < settings.seeds]
        if not base or not base[0].task.decoding.max_new_tokens:
            return []
        if settings.arms is None:
            return [*base, *trained] if base[0].arm.baseline == base[0].task.reference else []
        wanted = [e for e in (*base, *trained) if e.arm.method in settings.arms]
        return [*base, *(e for e in wanted if e not in base)] if wanted else []

    def _add(
        self, task: TaskRecord, arms: Sequence[ArmAnswers], scores: Sequence[ArmRecord], result: InformationResult
    ) -> None:
        name = arms[0].arm.method

        def record(error: BaseException) -> None:
            result.failures.append(failure_record(task.name, name, None, "information", error))
            self.display.say(failure_line(result.failures[-1]))

        with recorded(record):
            try:
                measured = self._measure_block(task, arms, scores)
            except ModelError as error:
                result.notes.append(f"{task.name}: mutual information was not measured: {error}")
            else:
                result.records += [measured] if measured else []

    def _measure_block(
        self, task: TaskRecord, arms: Sequence[ArmAnswers], scores: Sequence[ArmRecord]
    ) -> InformationRecord | None:
        settings, reference = self.config.information, arms[0].arm.method
        baseline = self.plan.baselines[arms[0].arm.baseline]
        others = contrast_prompts(arms[0].task, baseline, arms[0].model.generator, settings)
        if others is None:
            return None
        with self.display.stage(f"{task.name} {reference}: mutual information", "prompts") as stage:
            measured = measure(arms, others, settings, self.store, stage)
        if not measured.items:
            return None
        block = InformationBlock(
            others.contexts,
            measured.items,
            _users(task, measured),
            measured.cells,
            average=self.config.average,
            alpha=self.config.alpha,
        )
        return InformationRecord(
            task=task.name,
            over=others.over,
            reference=reference,
            contexts=list(others.contexts),
            items=list(measured.items),
            left_out=measured.left_out,
            temperature=settings.temperature,
            end=measured.end,
            measured=list(measured.cells),
            estimates=block.estimates(),
            changes=block.changes(reference, _scores(task, measured, scores)),
        )


def _users(task: TaskRecord, measured: Measured) -> list[str] | None:
    if task.users is None:
        return None
    user_of = dict(zip(task.items, task.users, strict=True))
    return [user_of[name] for name in measured.items]


def _scores(task: TaskRecord, measured: Measured, arms: Sequence[ArmRecord]) -> Mapping[tuple[str, int | None], Floats]:
    """(method, training seed) -> task scores of the measured items."""
    place = {name: n for n, name in enumerate(task.items)}
    rows = [place[name] for name in measured.items]
    return {(arm.method, arm.train_seed): np.array([arm.scores[n] for n in rows]) for arm in arms}
