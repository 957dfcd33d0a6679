"""Computes the estimates and the tested comparisons of a report from per-item scores.

The primary family is declared before the run: for each task, every trained recipe against the task's reference
baseline, Holm-adjusted together. The exploratory family is Benjamini-Hochberg-adjusted: every trained recipe against
every other prompting baseline and against every trained baseline (SFT, RLVR ...), and every other baseline, prompted
or trained, against the reference. Trained baselines are not claims of the run: in the primary family they would only
cost the claims power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mipo_bench.reports.numbers import p_text
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.report import (
    ArmRecord,
    ComparisonRecord,
    EstimateRecord,
    Family,
    TaskRecord,
)
from mipo_bench.reports.records.sensitivity import SensitivityRecord
from mipo_bench.reports.stats import Average, Caveat, Scores, benjamini_hochberg, compare, holm, sensitivity, summarize


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """Settings of the comparisons, and the planned methods: a method that failed stays in its family."""

    average: Average
    alpha: float
    planned: Sequence[tuple[str, str, bool]]
    """(task, method, trained) of every arm, without training seeds."""
    seeds: int
    trained_baselines: frozenset[str] = frozenset()
    """The trained methods that serve as baselines."""
    without_verdicts: frozenset[tuple[str, str]] = frozenset()
    """(task, method) of the methods on which the judge gave no verdict: their scores are ties of no meaning."""

    def average_of(self, task: TaskRecord) -> Average:
        """The units of equal weight in the averages of a task: a group of tasks brings its own."""
        return task.group_average or self.average

    def no_verdict(self, task: str, method: str) -> list[CaveatRecord]:
        """The warning that the judge gave no verdict on a method; empty if it gave one, or was not asked."""
        if (task, method) not in self.without_verdicts:
            return []
        return [CaveatRecord(code="untestable", message=f"the judge gave no verdict on {method}")]


def scores_of(task: TaskRecord, arms: Sequence[ArmRecord]) -> Scores:
    """One method's scores in long format, over all its training seeds."""
    trained = all(arm.train_seed is not None for arm in arms)
    return Scores.from_columns(
        item=task.items * len(arms),
        value=[value for arm in arms for value in arm.scores],
        cluster=task.users * len(arms) if task.users else None,
        seed=[arm.train_seed or 0 for arm in arms for _ in arm.scores] if trained else None,
    )


def estimates(
    tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord], comparison_plan: ComparisonPlan
) -> list[EstimateRecord]:
    """Each method's score, in the order of the plan."""
    found = []
    for task in tasks:
        for name, method, _ in comparison_plan.planned:
            group = _group(arms, name, method)
            if name == task.name and group:
                found.append(_estimate(task, group, comparison_plan))
    return found


def _estimate(task: TaskRecord, group: Sequence[ArmRecord], comparison_plan: ComparisonPlan) -> EstimateRecord:
    e = summarize(scores_of(task, group), weight=comparison_plan.average_of(task), alpha=comparison_plan.alpha)
    silent = comparison_plan.no_verdict(task.name, group[0].method)
    return EstimateRecord(
        task=task.name,
        method=group[0].method,
        mean=e.mean,
        ci_low=None if silent else e.ci_low,
        ci_high=None if silent else e.ci_high,
        interval="none" if silent else e.method,
        n_items=e.n_items,
        n_clusters=e.n_clusters,
        n_seeds=e.n_seeds,
        seed_sd=e.seed_sd,
        per_seed=list(e.per_seed),
        mean_tokens=_mean_tokens(task, group),
        truncated=sum(len(arm.truncated) for arm in group),
        unparsed=sum(len(arm.unparsed) for arm in group),
        failed=sum(len(arm.failed) for arm in group),
        warnings=[*(silent or _caveats(e.warnings)), *_unknown_finish(group)],
        finish_unknown=sum(arm.finish_unknown for arm in group),
    )


def _mean_tokens(task: TaskRecord, group: Sequence[ArmRecord]) -> float:
    """The mean length of the responses; 0 where every item failed."""
    lengths: list[int] = []
    for arm in group:
        failed = set(arm.failed)
        lengths += [n for item, n in zip(task.items, arm.n_tokens, strict=True) if item not in failed]
    return float(np.mean(lengths)) if lengths else 0.0


def _unknown_finish(group: Sequence[ArmRecord]) -> list[CaveatRecord]:
    """The warning that some responses may have been cut without a trace."""
    count, of = sum(arm.finish_unknown for arm in group), sum(len(arm.scores) for arm in group)
    if not count:
        return []
    message = f"the finish reason of {count} of {of} responses is not known: some of them may have been cut"
    return [CaveatRecord(code="finish_unknown", message=message)]


def comparisons(
    tasks: Sequence[TaskRecord], arms: Sequence[ArmRecord], comparison_plan: ComparisonPlan
) -> list[ComparisonRecord]:
    """All comparisons, tested and adjusted: the primary family first."""
    plan = [c for task in tasks for c in _plan(task, comparison_plan)]
    by_name = {task.name: task for task in tasks}
    made = [_comparison(by_name[c.task], c, arms, comparison_plan) for c in plan]
    adjusted = [*_adjusted(made, "primary", holm), *_adjusted(made, "exploratory", benjamini_hochberg)]
    return adjusted + [c for c in made if c.family == "noise"]


def _plan(task: TaskRecord, comparison_plan: ComparisonPlan) -> Iterable[ComparisonRecord]:
    """The comparisons of a task, without results."""

    def pair(family: Family, base: str, method: str) -> ComparisonRecord:
        return ComparisonRecord(task=task.name, family=family, base=base, method=method)

    learned = [m for name, m, is_trained in comparison_plan.planned if name == task.name and is_trained]
    trained = [m for m in learned if m not in comparison_plan.trained_baselines]
    rivals = [m for m in learned if m in comparison_plan.trained_baselines]
    prompted = [m for name, m, is_trained in comparison_plan.planned if name == task.name and not is_trained]
    twin = f"{task.reference} (A/A)"
    others = [m for m in prompted if m not in (task.reference, twin)]
    yield from (pair("primary", task.reference, m) for m in trained)
    yield from (pair("exploratory", other, m) for m in trained for other in others)
    yield from (pair("exploratory", rival, m) for m in trained for rival in rivals)
    yield from (pair("exploratory", task.reference, other) for other in (*others, *rivals))
    if twin in prompted:
        yield pair("noise", task.reference, twin)


def _comparison(
    task: TaskRecord, planned: ComparisonRecord, arms: Sequence[ArmRecord], comparison_plan: ComparisonPlan
) -> ComparisonRecord:
    base, method = _group(arms, task.name, planned.base), _group(arms, task.name, planned.method)
    if not base or not method:
        missing = planned.base if not base else planned.method
        note = CaveatRecord(code="untestable", message=f"{missing} could not be completed")
        return planned.model_copy(update={"warnings": [note]})
    for name in (planned.base, planned.method):
        silent = comparison_plan.no_verdict(task.name, name)
        if silent:
            return planned.model_copy(update={"warnings": silent})
    base, method = _same_seeds(base, method)
    if not base:
        note = CaveatRecord(code="untestable", message="no training seed was completed on both sides")
        return planned.model_copy(update={"warnings": [note]})
    found = asdict(
        compare(
            scores_of(task, base),
            scores_of(task, method),
            weight=comparison_plan.average_of(task),
            alpha=comparison_plan.alpha,
        )
    )
    warnings = [CaveatRecord(code=c["code"], message=c["message"]) for c in found.pop("warnings")]
    if method[0].train_seed is not None and len(method) < comparison_plan.seeds:
        message = f"{len(method)} of {comparison_plan.seeds} training seeds completed"
        warnings.append(CaveatRecord(code="missing_seeds", message=message))
    fields = {k: v for k, v in found.items() if k in ComparisonRecord.model_fields}
    names = {"task": planned.task, "family": planned.family, "base": planned.base, "method": planned.method}
    made = ComparisonRecord.model_validate({**fields, **names, "warnings": warnings})
    return _with_sensitivity(made, task, base, method, comparison_plan) if made.family == "primary" else made


def _with_sensitivity(
    made: ComparisonRecord,
    task: TaskRecord,
    base: Sequence[ArmRecord],
    method: Sequence[ArmRecord],
    comparison_plan: ComparisonPlan,
) -> ComparisonRecord:
    """Add the sensitivity, and a warning if p is below alpha with one user (or item) only."""
    alpha = comparison_plan.alpha
    average = comparison_plan.average_of(task)
    found = sensitivity(scores_of(task, base), scores_of(task, method), weight=average, alpha=alpha)
    record, warnings = SensitivityRecord.model_validate(asdict(found)), list(made.warnings)
    if made.p_value is not None and found.p_without is not None and made.p_value < alpha <= found.p_without:
        one = f"{'user' if task.users else 'item'} {found.p_cluster}"
        message = f"without {one}, p is {p_text(found.p_without)} before adjustment: the finding rests on it"
        warnings.append(CaveatRecord(code="rests_on_one", message=message))
    return made.model_copy(update={"sensitivity": record, "warnings": warnings})


def _same_seeds(base: list[ArmRecord], method: list[ArmRecord]) -> tuple[list[ArmRecord], list[ArmRecord]]:
    """Both arms under the training seeds that they share, if both are trained; else all of both."""
    if base[0].train_seed is None or method[0].train_seed is None:
        return base, method
    shared = {arm.train_seed for arm in base} & {arm.train_seed for arm in method}
    paired = [[arm for arm in arms if arm.train_seed in shared] for arms in (base, method)]
    return paired[0], paired[1]


def _adjusted(
    made: Sequence[ComparisonRecord],
    family: Family,
    adjust: Callable[[Sequence[float | None]], list[float | None]],
) -> list[ComparisonRecord]:
    members = [c for c in made if c.family == family]
    values = adjust([c.p_value for c in members]) if members else []
    return [c.model_copy(update={"p_adjusted": p}) for c, p in zip(members, values, strict=True)]


def _group(arms: Sequence[ArmRecord], task: str, method: str) -> list[ArmRecord]:
    return [arm for arm in arms if arm.task == task and arm.method == method]


def _caveats(caveats: Iterable[Caveat]) -> list[CaveatRecord]:
    return [CaveatRecord(code=c.code, message=c.message) for c in caveats]
