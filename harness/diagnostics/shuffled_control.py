"""The shuffled-profile control: the scores of each arm under another user's profile.

Where the target describes the user, or a judge reads the profile, the same responses are scored again. Where the target
is an option that suits the user, the reference and the trained arms are asked again with another user's profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Display
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers, ArmContext
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.evaluation.scoring import score_arm, stored_responses
from mipo_bench.harness.evaluation.shuffled_profiles import (
    in_place_of,
    other_user_of,
    target_describes_user,
    target_is_option,
)
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.analysis.shuffled_control import ShuffledScores
from mipo_bench.reports.records.report import ArmRecord, FailureRecord


@dataclass
class ShuffledResult:
    """The arms with a control, and those whose control failed."""

    scores: list[ShuffledScores] = field(default_factory=list)
    failures: list[FailureRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShuffledControl:
    """Scores the arms of a run under another user's profile."""

    config: RunConfig
    plan: Plan
    store: Store
    display: Display
    judged_arms: JudgedArms

    def measure(self, evaluated: Sequence[ArmAnswers], arms: Sequence[ArmRecord]) -> ShuffledResult:
        """The control of every arm that has one; `arms` are parallel to `evaluated`. Raises UserError."""
        result = ShuffledResult()
        trained = {answers.arm.task for answers in evaluated if answers.arm.recipe is not None}
        for answers, arm in zip(evaluated, arms, strict=True):

            def record(error: BaseException, answers: ArmAnswers = answers) -> None:
                arm = answers.arm
                failure = failure_record(arm.task, arm.method, arm.train_seed, "shuffled-profile control", error)
                result.failures.append(failure)
                self.display.say(failure_line(failure))

            with recorded(record):
                scores = self._shuffled(answers, asks=answers.arm.task in trained)
                result.scores += [] if scores is None else [ShuffledScores(arm, scores)]
        return result

    def _shuffled(self, answers: ArmAnswers, *, asks: bool) -> list[float] | None:
        """The scores under another user's profile; None where the arm has no control."""
        plan, verdicts = answers.task, self.judged_arms.shuffled_verdicts.get(answers.arm)
        if verdicts is not None:
            return [verdict.score for verdict in verdicts]
        if answers.arm in self.judged_arms.verdicts:
            return None
        if target_describes_user(plan.task, plan.items):
            return self._scored_again(answers)
        if asks and self.plan.prompts_known and target_is_option(plan.task, plan.items):
            return self._asked_again(answers)
        return None

    def _scored_again(self, answers: ArmAnswers) -> list[float] | None:
        """The scores of the same responses under the target of another user."""
        other = other_user_of(answers.task.items)
        if not other:
            return None
        items = [in_place_of(item, other[item.id]) for item in answers.task.items]
        return score_arm(answers.task.task, items, stored_responses(answers, self.store)).scores

    def _asked_again(self, answers: ArmAnswers) -> list[float] | None:
        """The scores of responses to the same prompts with another user's profile, under the item's own target.

        Asked of the reference and the trained arms alone, because each response costs a generation.
        """
        plan, arm = answers.task, answers.arm
        other = other_user_of(plan.items)
        if not other or arm.baseline != plan.reference or arm.aa_twin:
            return None
        asked = replace(plan, items=tuple(item.asked_by(other[item.id]) for item in plan.items))
        seed = "" if arm.train_seed is None else f" seed {arm.train_seed}"
        with self.display.stage(f"{arm.task} {arm.method}{seed}: shuffled-profile control", "responses") as stage:
            baseline = self.plan.baselines[arm.baseline]
            again = answer_arm(ArmContext(asked, baseline, arm, answers.model, self.store, stage, self.config))
            return score_arm(plan.task, asked.items, stored_responses(again, self.store)).scores
