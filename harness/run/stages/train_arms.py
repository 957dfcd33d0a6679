"""Training of one arm: its preference pairs, its checkpoint, and the report's record of the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import ModelError, StageError
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.judging.rewards import reward_of
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.run.stages.arm_stages import ArmStages
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.training.pairs import PairSet, PairSource, PromptSet, make_pairs, make_prompts
from mipo_bench.harness.types import Decoding
from mipo_bench.reports.records.report import CheckpointRecord


@dataclass(slots=True)
class ArmTrainer:
    """Trains the checkpoints of a run, one for each trained arm."""

    context: RunContext
    _pairs_by_seed: dict[tuple[str, str], dict[int, PairSet]] = field(default_factory=dict)

    @property
    def first_pairs(self) -> Mapping[tuple[str, str], PairSet]:
        """(task, recipe) -> the preference pairs of the lowest training seed, sorted by task and recipe."""
        return {name: pairs for name, by_seed in sorted(self._pairs_by_seed.items()) for pairs in by_seed.values()}

    def train(self, task: TaskPlan, arm: Arm, stages: ArmStages) -> TrainedCheckpoint:
        """Make the preference pairs of an arm and train its checkpoint on them.

        Raises PairsError where too few pairs are left, and StageError where the model cannot be loaded or trained.
        """
        with stages.stage("pairs", "responses") as stage:
            data = self._training_data(task, arm, stage)
        if isinstance(data, PairSet):
            self._keep_first(arm, data)
        with stages.stage("training", "steps") as stage:
            return self._checkpoint(arm, data, stage)

    def _training_data(self, task: TaskPlan, arm: Arm, stage: Stage) -> PairSet | PromptSet:
        context, source, base = self.context, pair_source(self.context, task, arm), self.context.backend.base
        if objective_of(source.recipe) == "grpo":
            reward = reward_of(source.recipe, task.task, base, context.config.judge, task.thought_tags)
            return make_prompts(source, base, reward)
        return make_pairs(source, base, lambda requests: answer(base, requests, context.store, stage))

    def _keep_first(self, arm: Arm, pairs: PairSet) -> None:
        """Keep the pairs of the lowest seed only: the arms of a recipe come in any order, and pairs need memory."""
        name, seed = (arm.task, str(arm.recipe)), int(arm.train_seed or 0)
        if all(seed < known for known in self._pairs_by_seed.get(name, {})):
            self._pairs_by_seed[name] = {seed: pairs}

    def _checkpoint(self, arm: Arm, data: PairSet | PromptSet, stage: Stage) -> TrainedCheckpoint:
        def on_step(step: int, total: int) -> None:
            if not stage.total:
                stage.total = total
                stage.expect(Work(total))
            stage.tick(step - stage.done)

        try:
            return self.context.backend.trained(arm, data, on_step)
        except ModelError as error:  # a failure of this arm; the base model has answered already
            raise StageError(str(error)) from error


def pair_source(context: RunContext, task: TaskPlan, arm: Arm) -> PairSource:
    """The training items of a task with the recipe and the seed of one arm."""
    settings = context.config.pairs
    return PairSource(
        task=task.task,
        items=task.training_items,
        baseline=context.plan.baselines[task.reference],
        recipe=context.plan.recipes[str(arm.recipe)],
        decoding=_pair_decoding(context, task),
        seed=int(arm.train_seed or 0),
        negatives=settings.negatives,
        similarity=settings.similarity,
    )


def _pair_decoding(context: RunContext, task: TaskPlan) -> Decoding:
    """The task's decoding with the temperature and top-p of `pairs`."""
    return replace(
        task.decoding,
        max_new_tokens=task.decoding.max_new_tokens or task.task.max_new_tokens,
        temperature=context.config.pairs.temperature,
        top_p=context.config.pairs.top_p,
        verbatim=False,
    )


def checkpoint_record(arm: Arm, trained: TrainedCheckpoint) -> CheckpointRecord:
    """The report's record of a checkpoint."""
    return CheckpointRecord(
        task=arm.task,
        recipe=str(arm.recipe),
        train_seed=int(arm.train_seed or 0),
        digest=trained.digest,
        lineage=dict(trained.lineage),
    )
