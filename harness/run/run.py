"""The stages of a run in order: prompted responses, pairs, training, responses of the checkpoints, scores, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from mipo_bench.harness.backends.base import Backend, TrainedCheckpoint
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.git import git_state
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Display, Stage
from mipo_bench.harness.core.provenance import hardware, package_versions
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.diagnostics.guards import GuardResult, Guards
from mipo_bench.harness.diagnostics.information import InformationResult, InformationStage
from mipo_bench.harness.diagnostics.shuffled_control import shuffled_profile_scores
from mipo_bench.harness.errors import ModelError, StageError, described
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.evaluation.scoring import describe_task, score_arm
from mipo_bench.harness.evaluation.strategies import ArmContext, answer_arm
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.harness.judging.rewards import reward_of
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import is_judged, is_trained_baseline, objective_of
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.run.prefetch import pair_requests_of, prefetch_answers, prompting_requests
from mipo_bench.harness.store.claims import process_list_text
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.work_sharing import claim_each
from mipo_bench.harness.training.pairs import PairSet, PairSource, PromptSet, make_pairs, make_prompts
from mipo_bench.reports.analysis.comparisons import ComparisonPlan, comparisons, estimates
from mipo_bench.reports.analysis.shuffled_control import controls
from mipo_bench.reports.analysis.weak_baselines import with_below_base_warnings
from mipo_bench.reports.records.report import (
    ArmRecord,
    CheckpointRecord,
    FailureRecord,
    ModelRecord,
    Provenance,
    Report,
    TaskRecord,
)


@dataclass
class Run:
    """One run. `execute` goes through the stages; a failed arm becomes a failure in the report, the others go on."""

    config: RunConfig
    plan: Plan
    store: Store
    backend: Backend
    display: Display
    judges: Mapping[str, AssignedJudge] = field(default_factory=dict)
    """The judge of each judged task."""
    evaluated: list[ArmAnswers] = field(default_factory=list)
    """The arms of the report, in order."""
    _checkpoints: list[CheckpointRecord] = field(default_factory=list)
    _failures: list[FailureRecord] = field(default_factory=list)
    _pairsets: dict[tuple[str, str], tuple[int, PairSet]] = field(default_factory=dict)
    """Task and recipe -> the lowest training seed so far, and its pairs: arms come in any order."""
    _at: str = ""

    def __post_init__(self) -> None:
        """Seat the judges."""
        self.judged_arms = JudgedArms(self.judges, self.config, self.store)

    def execute(self) -> Report:
        """Run every stage and report."""
        self.compute()
        self._judge()
        return self._report()

    def compute_only(self) -> None:
        """Share the work of a process that judges and reports; what goes wrong here goes wrong there too."""
        self.compute()
        arms = [self._read(done) for done in self.evaluated]
        self._measure([describe_task(t.task, t.reference, t.items) for t in self.plan.tasks], arms)

    def compute(self) -> None:
        """Every stage before judging; what another process on the store computes is waited for."""
        self._prefetch()
        for task in self.plan.tasks:
            for arm in self.plan.arms_of(task.task.name, trained=False):
                with self._recording_failures(arm):
                    self._evaluate(task, arm, self.backend.base, self.backend.model_digest)
        for task, arm in self._trainings():
            with self._recording_failures(arm):
                self._trained(task, arm)
        order = {self._name(arm): n for n, arm in enumerate(self.plan.arms)}
        self.evaluated.sort(key=lambda done: order[self._name(done.arm)])
        self._checkpoints.sort(key=lambda c: order[c.task, c.recipe, c.train_seed])
        self._failures.sort(key=lambda h: order[h.task, h.method, h.train_seed])

    def _trainings(self) -> Iterator[tuple[TaskPlan, Arm]]:
        """The trained arms, those first that no other process is at."""
        settings = [self.config.train.model_dump_json(), self.config.pairs.model_dump_json()]
        units = {
            digest(["arm", self.backend.model_digest, *self._name(arm), *settings]): (task, arm)
            for task in self.plan.tasks
            for arm in self.plan.arms_of(task.task.name, trained=True)
        }

        def wait() -> None:
            others = process_list_text(self.store.claims.others())
            self.display.say(f"waiting for what others compute on this store ({others})")

        return claim_each(self.store.claims, units, wait)

    @staticmethod
    def _name(arm: Arm) -> tuple[str, str, int | None]:
        """What tells the arms of a run apart."""
        return (arm.task, arm.method, arm.train_seed)

    def _prefetch(self) -> None:
        """Ask the base model everything that is known from the start; what goes wrong is met again by its arm."""
        weights = AnsweringModel(self.backend.base, self.backend.model_digest)
        arms = ((t, arm) for t in self.plan.tasks for arm in self.plan.arms_of(t.task.name, trained=True))
        paired = pair_requests_of((self._source(task, arm) for task, arm in arms), self.backend.base)

        def record(error: BaseException) -> None:
            reason = redact(described(error))
            self.display.say(f"! arm by arm from here, because all at once failed: {reason}")

        with self.display.stage("prompting arms and pairs of all tasks", "responses") as stage, recorded(record):
            prefetch_answers(
                chain(prompting_requests(self.plan, weights), paired), self.backend.base, self.store, stage
            )

    def _judge(self) -> None:
        """Judge the arms of judged tasks; one that cannot be judged is left out of the report."""
        local = [judge for judge in self.judges.values() if judge.kind == "model"]
        if local:
            self.backend.unload()  # both would hardly fit into one memory
        self._judge_arms()
        for judge in local:
            judge.unload()

    def _judge_arms(self) -> None:
        waiting, self.evaluated = self.evaluated, []
        references = {d.arm.task: d for d in waiting if d.arm.method == d.task.reference and d.arm.recipe is None}
        for done in waiting:
            with self._recording_failures(done.arm):
                if is_judged(done.task.task):
                    with self._stage(done.arm, "judging", "verdicts") as stage:
                        self.judged_arms.judge_arm(done, references.get(done.arm.task), stage)
                self.evaluated.append(done)
        for task, reference in references.items():
            if task in self.judges:
                with (
                    self._recording_failures(reference.arm),
                    self._stage(reference.arm, "judging again", "verdicts") as stage,
                ):
                    self.judged_arms.retest(task, stage)

    def _remember_first_pairs(self, arm: Arm, pairs: PairSet) -> None:
        name, seed = (arm.task, str(arm.recipe)), int(arm.train_seed or 0)
        if name not in self._pairsets or seed < self._pairsets[name][0]:
            self._pairsets[name] = seed, pairs

    def _trained(self, task: TaskPlan, arm: Arm) -> None:
        """Pairs, training and responses of one recipe with one seed."""
        with self._stage(arm, "pairs", "responses") as stage:
            pairs = self._pairs(task, arm, stage)
        if isinstance(pairs, PairSet):
            self._remember_first_pairs(arm, pairs)
        with self._stage(arm, "training", "steps") as stage:
            trained = self._train(arm, pairs, stage)
        try:
            self._evaluate(task, arm, trained.generator, trained.digest)
        except ModelError as error:  # what the base model's user must repair is one checkpoint's failure here
            raise StageError(str(error)) from error
        checkpoint = CheckpointRecord(
            task=arm.task,
            recipe=str(arm.recipe),
            train_seed=int(arm.train_seed or 0),
            digest=trained.digest,
            lineage=dict(trained.lineage),
        )
        self._checkpoints.append(checkpoint)

    def _evaluate(self, task: TaskPlan, arm: Arm, generator: Generator, weights: str) -> None:
        """Answer one arm; what it answered stays in the store."""
        with self._stage(arm, "evaluation", "responses") as stage:
            baseline, model = self.plan.baselines[arm.baseline], AnsweringModel(generator, weights)
            done = answer_arm(ArmContext(task, baseline, arm, model, self.store, stage, self.config))
            done.check_overflow(self.store, self.config.overflow)
            self.evaluated.append(done)

    def _score(self, done: ArmAnswers) -> ArmRecord:
        """Score what one arm answered. Nothing is generated here, so a changed scorer costs no new generation."""
        return self.judged_arms.score(done.arm, self._read(done))

    def _read(self, done: ArmAnswers) -> ArmRecord:
        """The scores of one arm without a judge's."""
        task, responses = done.task, done.responses(self.store)
        return score_arm(task.task, done.arm, task.items, responses, done.failed, done.model.digest)

    def _measure(self, tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord]) -> tuple[InformationResult, GuardResult]:
        """What is computed with a model beyond the responses."""
        informed = InformationStage(self.config, self.plan, self.store, self.display).measure(
            self.evaluated, tasks, arms
        )
        firsts = {name: pairs for name, (_, pairs) in sorted(self._pairsets.items())}
        guards = Guards(self.store, self.display, self.backend.base, firsts)
        return informed, guards.compute(self.plan.tasks, self.evaluated)

    def _source(self, task: TaskPlan, arm: Arm) -> PairSource:
        settings = self.config.pairs
        return PairSource(
            task=task.task,
            items=task.training_items,
            baseline=self.plan.baselines[task.reference],
            recipe=self.plan.recipes[str(arm.recipe)],
            decoding=replace(
                task.decoding,
                max_new_tokens=task.decoding.max_new_tokens or task.task.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                verbatim=False,
            ),
            seed=int(arm.train_seed or 0),
            negatives=settings.negatives,
            similarity=settings.similarity,
        )

    def _pairs(self, task: TaskPlan, arm: Arm, stage: Stage) -> PairSet | PromptSet:
        source, base = self._source(task, arm), self.backend.base
        if objective_of(source.recipe) == "grpo":
            return make_prompts(source, base, reward_of(source.recipe, task.task, base, self.config.judge))
        return make_pairs(source, base, lambda requests: answer(base, requests, self.store, stage))

    def _train(self, arm: Arm, pairs: PairSet | PromptSet, stage: Stage) -> TrainedCheckpoint:
        def on_step(step: int, total: int) -> None:
            stage.total = total
            stage.tick(step - stage.done)

        try:
            return self.backend.trained(arm, pairs, on_step)
        except ModelError as error:  # as at the evaluation of a checkpoint
            raise StageError(str(error)) from error

    @contextmanager
    def _stage(self, arm: Arm, name: str, unit: str) -> Iterator[Stage]:
        self._at = name
        seed = "" if arm.train_seed is None else f" seed {arm.train_seed}"
        with self.display.stage(f"{arm.task} {arm.method}{seed}: {name}", unit) as stage:
            yield stage

    def _recording_failures(self, arm: Arm) -> AbstractContextManager[None]:
        """Turn the failure of an arm into a hole. What the user must repair ends the run instead."""

        def record(error: BaseException) -> None:
            self._failures.append(failure_record(arm.task, arm.method, arm.train_seed, self._at, error))
            self.display.say(failure_line(self._failures[-1]))

        return recorded(record)

    def _notes(self) -> list[str]:
        """What must be said of the models' answers, whenever they were computed."""
        generators = [self.backend.base, *(done.model.generator for done in self.evaluated)]
        kept = [note for name in dict.fromkeys(g.digest for g in generators) for note in self.store.notes(name)]
        return list(dict.fromkeys([*self.backend.notes, *kept]))

    def _report(self) -> Report:
        config, git = self.config, git_state(Path.cwd(), (self.config.out, self.config.store))
        arms = [self._score(done) for done in self.evaluated]
        tasks = [self.judged_arms.with_judge_hash(describe_task(t.task, t.reference, t.items)) for t in self.plan.tasks]
        planned = dict.fromkeys((a.task, a.method, a.recipe is not None) for a in self.plan.arms)
        trained_baselines = frozenset(name for name, recipe in self.plan.recipes.items() if is_trained_baseline(recipe))
        declared = ComparisonPlan(config.average, config.alpha, tuple(planned), config.seeds, trained_baselines)
        informed, guarded = self._measure(tasks, arms)
        return Report(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config.model_dump(mode="json", exclude={"store", "out"}),
            config_hash=config.result_hash(),
            provenance=Provenance(
                commit=git.commit if git else None,
                dirty=git.dirty if git else False,
                diff_hash=git.diff_hash if git else None,
                versions=package_versions(),
                hardware=hardware(self.backend.device),
            ),
            model=ModelRecord(
                name=config.model,
                digest=self.backend.model_digest,
                device=self.backend.device,
                dtype=self.backend.dtype,
                backend=self.backend.name,
            ),
            average=config.average,
            alpha=config.alpha,
            tasks=tasks,
            arms=arms,
            checkpoints=self._checkpoints,
            estimates=estimates(tasks, arms, declared),
            comparisons=with_below_base_warnings(
                comparisons(tasks, arms, declared), tasks, self._checkpoints, trained_baselines, config.alpha
            ),
            failures=[*self._failures, *informed.failures, *guarded.failures],
            notes=[
                *(f"{name} was damaged and has been computed again" for name in self.store.damaged),
                *self._notes(),
                *informed.notes,
            ],
            information=informed.records,
            guards=guarded.records,
            judges=self.judged_arms.records(tasks, arms),
            controls=controls(tasks, shuffled_profile_scores(self.evaluated, arms, self.judged_arms), declared),
        )
