"""The shuffled-profile control: scores of the same responses under another user's profile, without generation."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.scoring import score_arm, stored_responses
from mipo_bench.harness.evaluation.shuffled_profiles import in_place_of, other_user_of, target_describes_user
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.reports.analysis.shuffled_control import ShuffledScores
from mipo_bench.reports.records.report import ArmRecord


def shuffled_profile_scores(
    evaluated: Sequence[ArmAnswers], arms: Sequence[ArmRecord], judged_arms: JudgedArms
) -> list[ShuffledScores]:
    """The arms with a control, and their scores under another user's profile. `arms` are parallel to `evaluated`."""
    controls = []
    for answers, arm in zip(evaluated, arms, strict=True):
        scores = _shuffled(answers, judged_arms)
        if scores is not None:
            controls.append(ShuffledScores(arm, scores))
    return controls


def _shuffled(answers: ArmAnswers, judged_arms: JudgedArms) -> list[float] | None:
    """The scores under another user's profile; None where the task has no users or its scores depend on no profile."""
    plan, verdicts = answers.task, judged_arms.shuffled_verdicts.get(answers.arm)
    if verdicts is not None:
        return [verdict.score for verdict in verdicts]
    if answers.arm in judged_arms.verdicts or not target_describes_user(plan.task, plan.items):
        return None
    other = other_user_of(plan.items)
    if not other:
        return None
    items = [in_place_of(item, other[item.id]) for item in plan.items]
    return score_arm(plan.task, items, stored_responses(answers, judged_arms.store)).scores
