"""Score what an arm answered against another user's profile. Nothing is generated for it."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.scoring import score_arm
from mipo_bench.harness.evaluation.shuffled_profiles import in_place_of, other_user_of, target_describes_user
from mipo_bench.harness.judging.judged_arms import JudgedArms
from mipo_bench.reports.analysis.shuffled_control import ShuffledScores
from mipo_bench.reports.records.report import ArmRecord


def shuffled_profile_scores(
    evaluated: Sequence[ArmAnswers], arms: Sequence[ArmRecord], judged_arms: JudgedArms
) -> list[ShuffledScores]:
    """The arms that have a control, with their scores under another user's profile; `arms` belong to `evaluated`."""
    found = []
    for done, arm in zip(evaluated, arms, strict=True):
        scores = _shuffled(done, judged_arms)
        if scores is not None:
            found.append(ShuffledScores(arm, scores))
    return found


def _shuffled(done: ArmAnswers, judged_arms: JudgedArms) -> list[float] | None:
    """None where the task has no users, or none of its scores can be held against another's profile."""
    plan, judged = done.task, judged_arms.shuffled_verdicts.get(done.arm)
    if judged is not None:
        return [f.score for f in judged]
    if done.arm in judged_arms.verdicts or not target_describes_user(plan.task, plan.items):
        return None
    other = other_user_of(plan.items)
    if not other:
        return None
    items = [in_place_of(item, other[item.id]) for item in plan.items]
    responses = done.responses(judged_arms.store)
    return score_arm(plan.task, done.arm, items, responses, done.failed, done.model.digest).scores
