"""The two ways in which the arms of a run get their responses: from a model with its checkpoints, or from a file.

A responses file (`--model RESPONSES.jsonl`) names its own arms. Its arms with a training seed are trained arms: they
form the primary family against the task's reference arm, which must be in the file. All others are prompting arms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import ModelError, StageError, described
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmContext, ArmRequests
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.exchange.from_responses import response_id
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Request
from mipo_bench.harness.run.stages.arm_stages import ArmStages
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.prefetch import pair_requests_of, prefetch_answers, prompting_requests
from mipo_bench.harness.run.stages.train_arms import ArmTrainer, checkpoint_record, pair_source
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.reports.records.report import CheckpointRecord


class ArmAnswerer(Protocol):
    """Answers the arms of a run, one at a time."""

    @property
    def checkpoints(self) -> Sequence[CheckpointRecord]:
        """The checkpoints that have answered their arm, in the order of the answers."""
        ...

    @property
    def first_pairs(self) -> Mapping[tuple[str, str], PairSet]:
        """(task, recipe) -> the preference pairs of the lowest training seed."""
        ...

    def prefetch(self) -> None:
        """Answer all requests together that are known before the first arm."""
        ...

    def answer(self, task: TaskPlan, arm: Arm, stages: ArmStages) -> ArmAnswers:
        """Answer every item of the task. Raises StageError where the arm has no responses."""
        ...


@dataclass(slots=True)
class ModelAnswerer:
    """Answers prompting arms with the base model, and each trained arm with the checkpoint that it trains first."""

    context: RunContext
    trainer: ArmTrainer
    checkpoints: list[CheckpointRecord] = field(default_factory=list)

    @property
    def first_pairs(self) -> Mapping[tuple[str, str], PairSet]:
        """See `ArmAnswerer`."""
        return self.trainer.first_pairs

    def prefetch(self) -> None:
        """Answer all prompting arms and preference pairs in one stream. An arm meets the error of its request again."""
        context, base = self.context, self.context.base

        def show(error: BaseException) -> None:
            context.display.say(f"! the joint stream failed, so each arm is answered alone: {redact(described(error))}")

        with context.display.stage("prompting arms and pairs of all tasks", "responses") as stage, recorded(show):
            prefetch_answers(lambda: self._known_requests(base), base.generator, context.store, stage)

    def _known_requests(self, base: AnsweringModel) -> Iterable[Request]:
        plan = self.context.plan
        trained = ((task, arm) for task in plan.tasks for arm in plan.arms_of(task.task.name, trained=True))
        sources = (pair_source(self.context, task, arm) for task, arm in trained)
        return chain(prompting_requests(plan, base), pair_requests_of(sources, base.generator))

    def answer(self, task: TaskPlan, arm: Arm, stages: ArmStages) -> ArmAnswers:
        """See `ArmAnswerer`. The responses stay in the store."""
        if arm.recipe is None:
            return self._evaluate(task, arm, self.context.base, stages)
        trained = self.trainer.train(task, arm, stages)
        try:
            answers = self._evaluate(task, arm, AnsweringModel(trained.generator, trained.digest), stages)
        except ModelError as error:  # of the base model it ends the run, of one checkpoint it is a failure of the arm
            raise StageError(str(error)) from error
        self.checkpoints.append(checkpoint_record(arm, trained))
        return answers

    def _evaluate(self, task: TaskPlan, arm: Arm, model: AnsweringModel, stages: ArmStages) -> ArmAnswers:
        context = self.context
        with stages.stage("evaluation", "responses") as stage:
            baseline = context.plan.baselines[arm.baseline]
            answers = answer_arm(ArmContext(task, baseline, arm, model, context.store, stage, context.config))
            answers.check_overflow(context.store, context.config.overflow)
            return answers


@dataclass(frozen=True, slots=True)
class ResponsesFileAnswerer:
    """Takes the responses of every arm, trained ones too, from the responses file."""

    context: RunContext
    checkpoints: Sequence[CheckpointRecord] = ()
    first_pairs: Mapping[tuple[str, str], PairSet] = field(default_factory=dict)

    def prefetch(self) -> None:
        """Do nothing: reading the file needs no batches."""

    def answer(self, task: TaskPlan, arm: Arm, stages: ArmStages) -> ArmAnswers:
        """See `ArmAnswerer`."""
        file, store = self.context.base, self.context.store
        with stages.stage("evaluation", "responses") as stage:
            requests = {item.id: Request(response_id(arm, item.id), 0, task.decoding) for item in task.items}
            arm_requests = ArmRequests(task, arm, file, requests)
            arm_requests.record_unanswered(answer(file.generator, list(requests.values()), store, stage))
            return arm_requests.answers()
