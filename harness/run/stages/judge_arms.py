"""The judging stage of a run: verdicts for every arm of a judged task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.harness.plugins.optional import is_judged
from mipo_bench.harness.run.stages.arm_stages import FailureLog
from mipo_bench.harness.run.stages.context import RunContext


def judge_arms(
    context: RunContext, arms: Sequence[ArmAnswers], judged_arms: JudgedArms, failures: FailureLog
) -> list[ArmAnswers]:
    """Judge the arms of judged tasks. Returns the arms of the report: all but those that could not be judged."""
    every = [member for judge in judged_arms.judges.values() for member in judge.members]
    local = [judge for judge in every if judge.kind in ("model", "nli")]
    if local:
        context.backend.unload()  # both models would hardly fit into the memory of one GPU
    references = {a.arm.task: a for a in arms if a.arm.method == a.task.reference and a.arm.recipe is None}
    kept = [answers for answers in arms if _is_kept(answers, references, judged_arms, failures)]
    _retest(references, judged_arms, failures)
    for judge in local:
        judge.unload()
    return kept


def _is_kept(
    answers: ArmAnswers, references: Mapping[str, ArmAnswers], judged_arms: JudgedArms, failures: FailureLog
) -> bool:
    """Judge the arm where its task is judged. Returns False where that failed."""
    with failures.stages_of(answers.arm) as stages:
        if is_judged(answers.task.task):
            with stages.stage("judging", "verdicts") as stage:
                judged_arms.judge_arm(answers, references.get(answers.arm.task), stage)
        return True
    return False


def _retest(references: Mapping[str, ArmAnswers], judged_arms: JudgedArms, failures: FailureLog) -> None:
    """Ask each judge some of its questions again, to see how often it agrees with itself."""
    for task, reference in references.items():
        if task in judged_arms.judges:
            with (
                failures.stages_of(reference.arm) as stages,
                stages.stage("judging again", "verdicts") as stage,
            ):
                judged_arms.retest(task, stage)
