"""The shuffled-profile control: the gain that remains when responses are scored against another user's profile.

A gain that comes from knowing the user vanishes there; a gain from generic quality or from length remains. The
difference of the two gains is tested like any other difference between two arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mipo_bench.reports.analysis.comparisons import ComparisonPlan, scores_of
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.judges import ControlRecord
from mipo_bench.reports.records.report import ArmRecord, TaskRecord
from mipo_bench.reports.stats import Scores, benjamini_hochberg, compare, summarize


@dataclass(frozen=True, slots=True)
class ShuffledScores:
    """An arm, and its scores under another user's profile in the order of the task's items."""

    arm: ArmRecord
    shuffled: Sequence[float]


def controls(
    tasks: Sequence[TaskRecord], shuffled_scores: Sequence[ShuffledScores], comparison_plan: ComparisonPlan
) -> list[ControlRecord]:
    """The control of each method against its task's reference, on every task with such scores; adjusted together."""
    made = []
    for task in tasks:
        own = [h for h in shuffled_scores if h.arm.task == task.name and not h.arm.noise]
        base = [h for h in own if h.arm.recipe is None and h.arm.method == task.reference]
        methods = dict.fromkeys(h.arm.method for h in own if h not in base)
        if base:
            made += [_control(task, base, [h for h in own if h.arm.method == m], comparison_plan) for m in methods]
    adjusted = benjamini_hochberg([c.p_value for c in made]) if made else []
    return [c.model_copy(update={"p_adjusted": p}) for c, p in zip(made, adjusted, strict=True)]


def _control(
    task: TaskRecord, base: Sequence[ShuffledScores], method: Sequence[ShuffledScores], comparison_plan: ComparisonPlan
) -> ControlRecord:
    own, other = (_gain(task, base, method, comparison_plan, shuffled=flag) for flag in (False, True))
    specific = [_specific(task, side) for side in (base, method)]
    found = compare(*specific, weight=comparison_plan.average, alpha=comparison_plan.alpha, limits=(-1, 1))
    warnings = [CaveatRecord(code=c.code, message=c.message) for c in found.warnings if c.code != "relative_undefined"]
    silent = comparison_plan.no_verdict(task.name, method[0].arm.method)
    return ControlRecord(
        task=task.name,
        base=task.reference,
        method=method[0].arm.method,
        gain=own,
        shuffled_gain=other,
        difference=found.delta,
        ci_low=None if silent else found.ci_low,
        ci_high=None if silent else found.ci_high,
        p_value=None if silent else found.p_value,
        p_adjusted=None,
        mde=None if silent else found.mde,
        n_items=found.n_items,
        n_clusters=found.n_clusters,
        n_seeds=found.n_seeds,
        warnings=silent or warnings,
    )


def _gain(
    task: TaskRecord,
    base: Sequence[ShuffledScores],
    method: Sequence[ShuffledScores],
    comparison_plan: ComparisonPlan,
    *,
    shuffled: bool,
) -> float:
    means = [
        summarize(_scores(task, side, shuffled=shuffled), weight=comparison_plan.average).mean
        for side in (base, method)
    ]
    return means[1] - means[0]


def _scores(task: TaskRecord, side: Sequence[ShuffledScores], *, shuffled: bool) -> Scores:
    arms = [h.arm.model_copy(update={"scores": list(h.shuffled)}) if shuffled else h.arm for h in side]
    return scores_of(task, arms)


def _specific(task: TaskRecord, side: Sequence[ShuffledScores]) -> Scores:
    """The user-specific part of the score: score minus shuffled score, item by item."""
    own, other = _scores(task, side, shuffled=False), _scores(task, side, shuffled=True)
    return replace(own, value=np.subtract(own.value, other.value))
