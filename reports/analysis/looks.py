"""Earlier looks at the same items: former runs in which the primary comparisons of a report had been tested already.

A look is a former report with the same base model, in which the same method was tested against the same base on at
least half of the items (by the hashes of their prompts), and in which the scores of the two arms differ. A repetition
of a run is therefore no look, and neither are the looks that came after the first run with the same scores: a
repetition says the same as the run that it repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipo_bench.reports.records.looks import LookRecord, LooksRecord
from mipo_bench.reports.records.report import ComparisonRecord, Report
from mipo_bench.reports.records.report_file import run_id

SHARED = 0.5
"""The share of a report's items that a former report must have had, to have looked at them."""


def earlier_looks(report: Report, former: Sequence[Report]) -> list[LooksRecord]:
    """The earlier looks of each primary comparison that has any. `former` are reports, the oldest first."""
    found = []
    for comparison in report.comparisons:
        if comparison.family == "primary" and comparison.p_value is not None:
            earlier = list(_looks(comparison, report, former))
            if earlier:
                names = {"task": comparison.task, "base": comparison.base, "method": comparison.method}
                found.append(LooksRecord(**names, earlier=earlier))
    return found


def _looks(comparison: ComparisonRecord, report: Report, former: Sequence[Report]) -> Iterable[LookRecord]:
    """The looks before the first former report with the same scores, each result once."""
    own, seen = _result(comparison, report), []
    for past in former:
        tested = _same_comparison(comparison, past)
        if past.model.digest != report.model.digest or tested is None or not _same_items(comparison.task, report, past):
            continue
        result = _result(comparison, past)
        if result == own:
            return
        if result not in seen:
            seen.append(result)
            yield LookRecord(run=run_id(past), created=past.created, delta=tested.delta, p_value=tested.p_value)


def _same_comparison(comparison: ComparisonRecord, past: Report) -> ComparisonRecord | None:
    """The former comparison of the same two arms, if it was tested; whichever family it was in."""
    wanted = (comparison.task, comparison.base, comparison.method)
    found = (c for c in past.comparisons if (c.task, c.base, c.method) == wanted and c.p_value is not None)
    return next(found, None)


def _same_items(task: str, report: Report, past: Report) -> bool:
    now, then = report.task(task), past.task(task)
    if now is None or then is None:
        return False
    return len({*now.prompt_hashes} & {*then.prompt_hashes}) >= SHARED * len({*now.prompt_hashes})


def _result(comparison: ComparisonRecord, report: Report) -> list[tuple[str, int | None, dict[str, float]]]:
    """The scores of both arms by item: what makes one look differ from another."""
    task = report.task(comparison.task)
    items = task.items if task else []
    arms = (arm for name in (comparison.base, comparison.method) for arm in report.group(comparison.task, name))
    return [(arm.method, arm.train_seed, dict(zip(items, arm.scores, strict=True))) for arm in arms]
