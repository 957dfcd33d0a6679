"""Score what an arm answered against another user's profile. Nothing is generated for it."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.scoring import score_arm
from mipo_bench.harness.evaluation.shuffled_profiles import in_place_of, strangers, target_is_the_users
from mipo_bench.harness.judging.judged_arms import Jury
from mipo_bench.reports.analysis.shuffled_control import Held
from mipo_bench.reports.records.report import ArmRecord


def held_against_strangers(evaluated: Sequence[ArmAnswers], arms: Sequence[ArmRecord], jury: Jury) -> list[Held]:
    """The arms that have a control, with their scores under another user's profile; `arms` belong to `evaluated`."""
    found = []
    for done, arm in zip(evaluated, arms, strict=True):
        scores = _shuffled(done, jury)
        if scores is not None:
            found.append(Held(arm, scores))
    return found


def _shuffled(done: ArmAnswers, jury: Jury) -> list[float] | None:
    """None where the task has no users, or none of its scores can be held against another's profile."""
    plan, judged = done.task, jury.shuffled.get(done.arm)
    if judged is not None:
        return [f.worth for f in judged]
    if done.arm in jury.found or not target_is_the_users(plan.task, plan.items):
        return None
    other = strangers(plan.items)
    if not other:
        return None
    items = [in_place_of(item, other[item.id]) for item in plan.items]
    responses = done.responses(jury.store)
    return score_arm(plan.task, done.arm, items, responses, done.failed, done.weights.digest).scores
