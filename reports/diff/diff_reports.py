"""Compares two reports arm by arm: paired tests on the items that both share, Holm-adjusted over all tested arms.

`mipo-bench diff` prints the result; `trend` and `selftest` use it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.harness.types import WAYS
from mipo_bench.reports.analysis.guard_rules import ways_differ
from mipo_bench.reports.analysis.ways import findings
from mipo_bench.reports.diff.environment import environment_notes
from mipo_bench.reports.diff.matching import Matching, match_items
from mipo_bench.reports.diff.records import ArmDiff, DiffOptions, ItemChange, ReportDiff, Side, TaskDiff
from mipo_bench.reports.numbers import plural
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.stats import compare, holm


@dataclass(frozen=True, slots=True)
class _Pair:
    """One task on both sides."""

    a: TaskRecord
    b: TaskRecord
    matching: Matching

    @property
    def scorer_changed(self) -> bool:
        return self.a.scorer_hash != self.b.scorer_hash


def diff_reports(a: Side, b: Side, options: DiffOptions) -> ReportDiff:
    """Compare B with A; delta = B - A. Raises NotComparableError if no task, item or arm can be tested."""
    pairs = _pair_tasks(a.report, b.report)
    arms = [arm for pair in pairs for arm in _arms(pair, a.report, b.report, options)]
    if not arms:
        _fail_without_arms(options)
    shown = {arm.task for arm in arms}
    return ReportDiff(
        a=a,
        b=b,
        average=b.report.average,
        alpha=b.report.alpha,
        tasks=tuple(_task(pair, a.report, b.report) for pair in pairs if pair.a.name in shown),
        arms=tuple(_adjusted(arms)),
        only_a=_only(a.report, b.report),
        only_b=_only(b.report, a.report),
        notes=environment_notes(a.report, b.report),
    )


def _pair_tasks(a: Report, b: Report) -> list[_Pair]:
    others = {task.name: task for task in b.tasks}
    shared = [(task, others[task.name]) for task in a.tasks if task.name in others]
    if not shared:
        in_a, in_b = (", ".join(f"{t.name} ({t.suite})" for t in r.tasks) or "no task" for r in (a, b))
        raise NotComparableError(f"the reports have no task in common: A has {in_a}, B has {in_b}.")
    pairs = [_Pair(left, right, match_items(left, right)) for left, right in shared]
    if not any(len(pair.matching.items) for pair in pairs):
        counts = "; ".join(
            f"{p.a.name}: {len(p.matching.removed)} only in A, {len(p.matching.added)} only in B, "
            f"{len(p.matching.changed)} changed"
            for p in pairs
        )
        raise NotComparableError(f"no item is the same on both sides, by id, prompt and target ({counts}).")
    return pairs


def _fail_without_arms(options: DiffOptions) -> None:
    wanted = f" matches {', '.join(options.arms)}" if options.arms else ""
    raise NotComparableError(f"no arm of a shared task{wanted}; arms are named TASK/METHOD.")


def _only(report: Report, other: Report) -> tuple[str, ...]:
    return tuple(task.name for task in report.tasks if other.task(task.name) is None)


def _task(pair: _Pair, a: Report, b: Report) -> TaskDiff:
    m = pair.matching
    return TaskDiff(
        name=pair.a.name,
        suite=pair.b.suite,
        n_matching=len(m.items),
        n_users=None if m.users is None else len(set(m.users)),
        added=m.added,
        removed=m.removed,
        changed=m.changed,
        scorer_changed=pair.scorer_changed,
        noise_a=_noise(a, pair.a.name),
        noise_b=_noise(b, pair.a.name),
    )


def _noise(report: Report, task: str) -> float | None:
    return next((c.delta for c in report.comparisons if (c.task, c.family) == (task, "noise")), None)


def _arms(pair: _Pair, a: Report, b: Report, options: DiffOptions) -> Iterable[ArmDiff]:
    """Every method of the task that either side has, in the order of the reports, without A/A twins."""
    for method in dict.fromkeys(arm.method for r in (a, b) for arm in r.arms if arm.task == pair.a.name):
        name = f"{pair.a.name}/{method}"
        left, right = a.group(pair.a.name, method), b.group(pair.a.name, method)
        if is_wanted(name, options.arms) and not any(arm.noise for arm in (*left, *right)):
            yield _arm(pair, left, right, b, options.margins.get(pair.a.name))


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether an arm (TASK/METHOD) matches a pattern; without patterns every arm does."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _arm(
    pair: _Pair, left: Sequence[ArmRecord], right: Sequence[ArmRecord], report: Report, margin: float | None
) -> ArmDiff:
    untested = _untested(pair, left, right)
    if untested:
        return untested
    seeds = _shared_seeds(left, right)
    kept = [[arm for arm in arms if arm.train_seed in seeds] for arms in (left, right)]
    a, b = (pair.matching.scores(arms, at) for arms, at in zip(kept, (pair.matching.a, pair.matching.b), strict=True))
    found = compare(a, b, weight=pair.b.group_average or report.average, alpha=report.alpha, margin=margin)
    caveats = [caveat.message for caveat in found.warnings if caveat.code != "relative_undefined"]
    changes = _changes(pair.matching, *kept)
    return ArmDiff(
        pair.a.name,
        left[0].method,
        "tested",
        comparison=found,
        regressed=tuple(sorted((c for c in changes if c.b < c.a), key=lambda c: c.b - c.a)),
        improved=tuple(sorted((c for c in changes if c.b > c.a), key=lambda c: c.a - c.b)),
        warnings=(*caveats, *_left_out(left, right, seeds), *_failures(*kept), *_ways(*kept)),
    )


def _untested(pair: _Pair, left: Sequence[ArmRecord], right: Sequence[ArmRecord]) -> ArmDiff | None:
    """The arm with the reason why it cannot be tested; None if it can."""
    task, method = pair.a.name, (left or right)[0].method
    if not left:
        return ArmDiff(task, method, "added", "only in B")
    if not right:
        return ArmDiff(task, method, "removed", "only in A")
    if pair.scorer_changed:
        return ArmDiff(task, method, "not comparable", "the scorer has changed; --rescore scores both sides again")
    if not len(pair.matching.items):
        return ArmDiff(task, method, "not comparable", "no item is the same on both sides")
    if not _shared_seeds(left, right):
        text = f"no training seed in common: {_seeds(left)} in A, {_seeds(right)} in B"
        return ArmDiff(task, method, "not comparable", text)
    return None


def _shared_seeds(left: Sequence[ArmRecord], right: Sequence[ArmRecord]) -> set[int | None]:
    return {arm.train_seed for arm in left} & {arm.train_seed for arm in right}


def _seeds(arms: Sequence[ArmRecord]) -> str:
    return ", ".join(str(arm.train_seed) for arm in arms)


def _left_out(left: Sequence[ArmRecord], right: Sequence[ArmRecord], seeds: set[int | None]) -> list[str]:
    alone = sorted({int(arm.train_seed or 0) for arm in (*left, *right) if arm.train_seed not in seeds})
    return [f"training seeds on one side only, left out: {', '.join(map(str, alone))}"] if alone else []


def _failures(left: Sequence[ArmRecord], right: Sequence[ArmRecord]) -> list[str]:
    counts = [(side, sum(len(arm.failed) for arm in arms)) for side, arms in (("A", left), ("B", right))]
    return [f"{plural(count, 'response')} of {side} failed and scored 0" for side, count in counts if count]


def _ways(left: Sequence[ArmRecord], right: Sequence[ArmRecord]) -> Iterable[str]:
    """A warning where the answers of the two sides were found in different ways."""
    a, b = findings(left), findings(right)
    if a and b and ways_differ(a, b):
        ways = [way for way in WAYS if a.share(way) != b.share(way)]
        shares = ", ".join(f"{way} {a.share(way):.0%} -> {b.share(way):.0%}" for way in ways)
        yield f"answers were found in other ways, A -> B: {shares}; part of the difference may be one of form"


def _changes(matching: Matching, left: Sequence[ArmRecord], right: Sequence[ArmRecord]) -> list[ItemChange]:
    """Items whose mean over the shared seeds differs."""
    a, b = (
        np.mean([np.asarray(arm.scores)[at] for arm in arms], axis=0)
        for arms, at in ((left, matching.a), (right, matching.b))
    )
    moved = np.flatnonzero(np.abs(a - b) > 1e-9)
    return [ItemChange(str(matching.items[n]), float(a[n]), float(b[n])) for n in moved]


def _adjusted(arms: Sequence[ArmDiff]) -> list[ArmDiff]:
    """Holm over the tested arms; an arm without a p-value counts in the family."""
    p = holm([arm.comparison.p_value for arm in arms if arm.comparison])
    values = iter(p)
    return [replace(arm, p_holm=next(values)) if arm.comparison else arm for arm in arms]
