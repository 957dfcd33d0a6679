"""Finds the earlier tries of a gate that was passed: runs of the same code on the same items that fail it."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.gate import INCONCLUSIVE, REGRESSION, Gate, apply_gate
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import run_id


def earlier_failures(a: Side, b: Side, gate: Gate, options: DiffOptions, former: Sequence[Report]) -> list[str]:
    """The ids of former runs that fail the gate against A, made before B from the same checkout, the oldest first.

    The gate is applied to them anew: nothing has to be remembered. A checkout is a commit and its uncommitted changes;
    outside of git it is not known, and nothing is found.
    """
    found = [past for past in former if _is_earlier_try(past, a.report, b.report) and _fails(a, past, gate, options)]
    return [run_id(past) for past in found]


def _is_earlier_try(past: Report, a: Report, b: Report) -> bool:
    code = (b.provenance.commit, b.provenance.diff_hash)
    same = code[0] is not None and (past.provenance.commit, past.provenance.diff_hash) == code
    return same and past.created < b.created and run_id(past) not in (run_id(a), run_id(b)) and _has_items(past, b)


def _has_items(past: Report, b: Report) -> bool:
    """Whether the former run had the same items of every task of B."""
    return all((then := past.task(t.name)) and then.prompt_hashes == t.prompt_hashes for t in b.tasks)


def _fails(a: Side, past: Report, gate: Gate, options: DiffOptions) -> bool:
    try:
        found = diff_reports(a, Side(past, "B"), options)
    except NotComparableError:
        return False  # the gate of B does not say anything about this run either
    return apply_gate(found, gate).code in (REGRESSION, INCONCLUSIVE)
