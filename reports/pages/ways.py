"""Lays out how the answers of a task were found, where that is worth a table; docs/answers.md explains the ways."""

from __future__ import annotations

from collections.abc import Mapping

from mipo_bench.harness.types import WAYS
from mipo_bench.reports.analysis.guard_rules import MARKED, reading_warnings, way_warnings
from mipo_bench.reports.analysis.ways import Findings, findings
from mipo_bench.reports.pages.page import Footnotes, Table
from mipo_bench.reports.records.report import Report

_MARK = WAYS[0]


def ways_table(report: Report, task: str, notes: Footnotes) -> Table | None:
    """One row for each method, in percent; None where every method marks its answers and nothing was left out."""
    methods = dict.fromkeys(arm.method for arm in report.arms if arm.task == task and not arm.noise)
    found = {method: each for method in methods if (each := findings(report.group(task, method)))}
    if not any(_is_notable(each) for each in found.values()):
        return None
    ways = [way for way in WAYS if any(each.ways.get(way) for each in found.values())]
    others = [name for name, count in _OTHERS.items() if any(getattr(each, count) for each in found.values())]
    rows = []
    for method, each in found.items():
        warnings = [*reading_warnings(each), *way_warnings(each, _bases(report, task, method, found))]
        counts = [getattr(each, _OTHERS[name]) / each.responses for name in others]
        shares = [*(each.share(way) for way in ways), *counts]
        rows.append((f"{method}{notes.marks(warnings)}", *(f"{share:.0%}" for share in shares)))
    title = (
        "how answers were found, in percent (thoughts: left out; cut: inside thoughts, no answer; invented: a next"
        " question of the model's own, left out)"
    )
    return Table(title, ("arm", *ways, *others), tuple(rows))


_OTHERS = {"thoughts": "thoughts", "cut": "thoughts_cut", "invented": "invented_turns"}
"""Column -> field of `Findings`."""


def _is_notable(found: Findings) -> bool:
    left_out = found.thoughts or found.thoughts_cut or found.invented_turns
    return bool(left_out or (found.ways and found.share(_MARK) < MARKED))


def _bases(report: Report, task: str, method: str, found: Mapping[str, Findings]) -> dict[str, Findings]:
    """The methods that this one is compared with as their method."""
    bases = dict.fromkeys(c.base for c in report.comparisons if (c.task, c.method) == (task, method))
    return {base: found[base] for base in bases if base in found}
